"""Pairs that share a row know nothing of each other: not one bit."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lidr.config import Layout
from lidr.training import microbatch, segments, support
from lidr.training.logprobs import response_log_probs
from lidr.training.pairs import TokenPair
from tests.training.cases import LENGTHS, VOCABULARY, model, token_pairs_of

PAIRS = token_pairs_of(*LENGTHS)
PACKED = (Layout.PACKED, Layout.SHARED)


def other_tokens(pair: TokenPair, *fields: str) -> TokenPair:
    """The same lengths."""

    def shifted(tokens: array[int]) -> array[int]:
        return array("i", [3 + (token + 7) % (VOCABULARY - 3) for token in tokens])

    return replace(pair, **{field: shifted(getattr(pair, field)) for field in fields})


def computed(
    built: PreTrainedModel, pairs: tuple[TokenPair, ...], layout: Layout, of: list[int]
) -> tuple[Tensor, list[Tensor]]:
    """Log-probs of some responses, and all gradients of their sum."""
    support.use_layout(built, layout)
    batch = microbatch.make(pairs, range(len(pairs)), layout, 0)
    log_probs = response_log_probs(built, batch)[of]
    return log_probs.detach(), list(torch.autograd.grad(log_probs.sum(), list(built.parameters())))


def same(a: tuple[Tensor, list[Tensor]], b: tuple[Tensor, list[Tensor]]) -> bool:
    return torch.equal(a[0], b[0]) and all(torch.equal(x, y) for x, y in zip(a[1], b[1], strict=True))


@pytest.fixture(params=[6, 128], autouse=True)
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are computed one by one in blocks of 6 queries, or several together under a mask."""
    monkeypatch.setattr(segments, "BLOCK", request.param)


@pytest.mark.parametrize("changed", range(len(PAIRS)))
@pytest.mark.parametrize("layout", PACKED)
def test_a_pair_does_not_move_the_others(layout: Layout, changed: int) -> None:
    built = model()
    n = len(PAIRS)
    others = [i for i in range(2 * n) if i % n != changed]
    pairs = list(PAIRS)
    pairs[changed] = other_tokens(PAIRS[changed], "prompt", "chosen", "rejected")
    before, after = computed(built, PAIRS, layout, others), computed(built, tuple(pairs), layout, others)
    assert same(before, after)
    own = [changed, changed + n]
    assert not same(computed(built, PAIRS, layout, own), computed(built, tuple(pairs), layout, own))


@pytest.mark.parametrize("changed", range(len(PAIRS)))
def test_the_responses_to_a_shared_prompt_do_not_see_each_other(changed: int) -> None:
    built, n = model(), len(PAIRS)
    for field, other in (("chosen", changed + n), ("rejected", changed)):
        pairs = list(PAIRS)
        pairs[changed] = other_tokens(PAIRS[changed], field)
        before, after = (computed(built, p, Layout.SHARED, [other]) for p in (PAIRS, tuple(pairs)))
        assert same(before, after)


@pytest.mark.parametrize("layout", PACKED)
def test_a_pair_is_the_same_wherever_it_lies(layout: Layout) -> None:
    """Positions start anew with each sequence."""
    built = model()
    support.use_layout(built, layout)
    with torch.no_grad():
        there = response_log_probs(built, microbatch.make(PAIRS, [0, 1, 2, 3], layout, 0))
        back = response_log_probs(built, microbatch.make(PAIRS, [3, 2, 1, 0], layout, 0))
    torch.testing.assert_close(back.view(2, 4).flip(1), there.view(2, 4), rtol=1e-6, atol=0)
