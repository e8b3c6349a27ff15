"""Which models run packed rows, and what happens to those that cannot."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.llama import modeling_llama

from lidr import attention_interface
from lidr.config import Layout
from lidr.errors import LidrError
from lidr.training import attention, microbatch, support, train
from lidr.training.logprobs import plain_head, response_log_probs
from tests.training.cases import LENGTHS, definition, model, token_pairs_of
from tests.training.conftest import MakeJob

PAIRS = token_pairs_of(*LENGTHS)
LONGEST = max(pair.longest for pair in PAIRS)
PACKED = (Layout.PACKED, Layout.SHARED)
CPU = torch.device("cpu")
# Queries' biases; heads wider than hidden / heads, norms by 1 + weight and scaled embeddings; scaled logits; a
# window that no sequence fills; learned positions.
PACKABLE = ("llama", "tied-llama", "qwen2", "gemma", "cohere", "mistral", "gpt2")
OBSTACLES = {
    "gemma2": "Gemma2ForCausalLM caps its attention scores",
    "mistral-window": f"MistralForCausalLM attends to 6 tokens, and the longest sequence has {LONGEST}",
    "bloom": "BloomForCausalLM does not use transformers' attention interface",
}


@torch.no_grad()
@pytest.mark.parametrize("layout", PACKED)
@pytest.mark.parametrize("family", PACKABLE)
def test_packed_log_probs_are_the_models_own(family: str, layout: Layout) -> None:
    built = model(family)
    assert attention_interface.obstacle(built, LONGEST) is None
    assert support.probe(built, PAIRS, layout, CPU) is None
    support.use_layout(built, layout)
    packed = response_log_probs(built, microbatch.make(PAIRS, range(len(PAIRS)), layout, 0))
    support.use_layout(built, Layout.PADDED)
    torch.testing.assert_close(packed, definition(built, PAIRS), rtol=1e-5, atol=1e-5)
    assert (plain_head(built) is None) is (family == "cohere")


@pytest.mark.parametrize("family", OBSTACLES)
def test_what_is_known_to_keep_a_model_from_it(family: str) -> None:
    assert attention_interface.obstacle(model(family), LONGEST) == OBSTACLES[family]


def test_a_window_no_sequence_fills_is_no_obstacle() -> None:
    assert attention_interface.obstacle(model("mistral-window"), 6) is None


@torch.no_grad()
@pytest.mark.parametrize("family", ["gemma2", "mistral-window", "bloom", "gpt-oss"])
def test_padded_rows_run_in_the_models_own_attention(family: str) -> None:
    """Gemma 2 and gpt-oss have but the eager one, before and after an attempt at packed rows."""
    built = model(family)
    expected = definition(built, PAIRS)
    batch = microbatch.make(PAIRS, range(len(PAIRS)), Layout.PADDED, 0)
    support.use_layout(built, Layout.PADDED)
    torch.testing.assert_close(response_log_probs(built, batch), expected, rtol=1e-5, atol=1e-5)
    if family != "bloom":
        support.use_layout(built, Layout.SHARED)
        support.use_layout(built, Layout.PADDED)
        torch.testing.assert_close(response_log_probs(built, batch), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", PACKED)
def test_the_probe_finds_what_no_table_knows(layout: Layout) -> None:
    """gpt-oss' attention has sinks, which the packed one does not know of."""
    built = model("gpt-oss")
    assert attention_interface.obstacle(built, LONGEST) is None
    problem = support.probe(built, PAIRS, layout, CPU)
    assert problem is not None
    assert "GptOssForCausalLM gives other log-probs there" in problem


@pytest.mark.parametrize("layout", PACKED)
def test_the_probe_finds_a_model_that_leaks(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention over the whole row, as if it were one sequence."""

    def leaky(module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        options.pop("packed_segments")
        return modeling_llama.ALL_ATTENTION_FUNCTIONS["sdpa"](
            module, query, key, value, None, **{**options, "is_causal": True}
        )

    monkeypatch.setitem(modeling_llama.ALL_ATTENTION_FUNCTIONS._global_mapping, attention.PACKED, leaky)
    problem = support.probe(model(), PAIRS, layout, CPU)
    assert problem is not None
    assert "LlamaForCausalLM gives other log-probs there" in problem
    assert "nats per token" in problem


@pytest.fixture
def counting() -> PreTrainedModel:
    """A GPT-2 that counts positions itself, of which it has 128; to rotary ones only distances would matter."""
    built = model("gpt2")
    forward = built.transformer.forward

    def count(*args: Any, position_ids: torch.Tensor | None = None, **options: Any) -> Any:
        return forward(*args, **options)

    built.transformer.forward = count
    return built


@pytest.mark.parametrize("layout", PACKED)
def test_the_probe_finds_a_model_that_counts_positions_itself(
    counting: PreTrainedModel, layout: Layout
) -> None:
    assert "GPT2LMHeadModel gives other log-probs there" in str(
        support.probe(counting, PAIRS[:2], layout, CPU)
    )


def test_the_probe_finds_a_model_that_breaks_on_it(counting: PreTrainedModel) -> None:
    """A row of all pairs has more tokens than the model has positions."""
    assert (
        support.probe(counting, PAIRS, Layout.PACKED, CPU)
        == "GPT2LMHeadModel cannot run it (index out of range in self)"
    )


@pytest.mark.parametrize("error", [TypeError("no such\nargument"), NotImplementedError(), KeyError()])
def test_the_probe_survives_any_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setitem(modeling_llama.ALL_ATTENTION_FUNCTIONS._global_mapping, attention.PACKED, fail)
    named = "no such" if str(error) else type(error).__name__
    assert support.probe(model(), PAIRS, Layout.SHARED, CPU) == f"LlamaForCausalLM cannot run it ({named})"


@pytest.fixture(scope="module")
def unsupported(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> str:
    """A Gemma 2 with the tests' tokenizer."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    folder = tmp_path_factory.mktemp("gemma2")
    shape = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = Gemma2Config(
            **shape, vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=1, pad_token_id=2
        )
        Gemma2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_layout_that_was_asked_for_and_cannot_be_is_one_line(
    make_job: MakeJob, tmp_path: Path, unsupported: str
) -> None:
    with pytest.raises(LidrError) as error:
        train(make_job(tmp_path, {"training.layout": "shared"}, policy=unsupported))
    assert str(error.value) == (
        "training.layout=shared: Gemma2ForCausalLM caps its attention scores -> type training.layout=padded"
    )


def test_auto_says_why_it_is_padded_and_trains(
    make_job: MakeJob, tmp_path: Path, unsupported: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lidr.training"):
        summary = train(make_job(tmp_path, {"training.epochs": 1}, policy=unsupported))
    assert "layout padded: Gemma2ForCausalLM caps its attention scores" in caplog.text
    assert summary.steps == 3
