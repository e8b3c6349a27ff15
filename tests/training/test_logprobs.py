import logging
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn.functional import linear
from transformers import PreTrainedModel

from lidr.config import Layout
from lidr.training import logprobs, microbatch
from lidr.training.head import token_log_probs
from lidr.training.logprobs import plain_head, response_log_probs
from lidr.training.microbatch import MicroBatch
from tests.training.cases import LENGTHS, definition, model, token_pairs_of

PAIRS = token_pairs_of(*LENGTHS)


def padded() -> MicroBatch:
    return microbatch.make(PAIRS, range(len(PAIRS)), Layout.PADDED, 0)


@torch.no_grad()
@pytest.mark.parametrize("family", ["llama", "tied-llama", "gpt2", "bloom"])
def test_sums_over_the_response_of_each_row(family: str) -> None:
    """Bloom takes no positions, and its attention goes its own way."""
    built = model(family)
    torch.testing.assert_close(response_log_probs(built, padded()), definition(built, PAIRS))


@torch.no_grad()
@pytest.mark.parametrize("family", ["cohere", "gemma2"])
def test_what_a_model_does_to_its_logits_still_happens(family: str, caplog: pytest.LogCaptureFixture) -> None:
    """Cohere scales them, Gemma 2 caps them; found out once for each model, and said."""
    built = model(family)
    with caplog.at_level(logging.INFO, "lidr.training.logprobs"):
        for _ in range(2):
            torch.testing.assert_close(response_log_probs(built, padded()), definition(built, PAIRS))
    assert plain_head(built) is None
    assert [record.message for record in caplog.records] == [
        f"{type(built).__name__} changes the output of its LM head: its own logits are kept"
    ]


@torch.no_grad()
def test_the_head_works_at_response_positions_only() -> None:
    built, rows = model(), []

    def spy(hidden: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        rows.append(len(hidden))
        return token_log_probs(hidden, *args, **options)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(logprobs, "token_log_probs", spy)
        response_log_probs(built, padded())
    assert sum(rows) == sum(chosen + rejected for _, chosen, rejected in LENGTHS)


def test_the_head_is_as_it_was_after_an_error() -> None:
    built = model()
    batch = padded()
    with pytest.raises(IndexError):
        response_log_probs(built, batch._replace(input_ids=batch.input_ids + 1000))
    assert "forward" not in vars(built.lm_head)


def test_a_heads_own_forward_is_put_back() -> None:
    """`fusing` gives it one."""
    built, own = model(), partial(linear, weight=torch.zeros(1, 1))
    built.lm_head.forward = own
    response_log_probs(built, padded())
    assert vars(built.lm_head)["forward"] is own


class AllLogits(torch.nn.Module):
    """A model that cannot pick positions."""

    def __init__(self, inner: PreTrainedModel) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids, attention_mask, use_cache):  # type: ignore[no-untyped-def]
        return self.inner(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)


@torch.no_grad()
def test_falls_back_to_all_logits() -> None:
    built = model()
    torch.testing.assert_close(response_log_probs(AllLogits(built), padded()), definition(built, PAIRS))
