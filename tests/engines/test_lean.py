"""Layers called directly compute what the model's own code computes."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from lidr.engines import lean, probe
from lidr.engines.laid_out import LaidOut, joined_product
from lidr.engines.lean import LeanModel, fits
from tests import tiny
from tests.training import cases

PROMPTS = [list(range(3, 40)), list(range(60, 80))]


def own_attention(model: PreTrainedModel) -> str:
    return str(model.config._attn_implementation)


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("laid_out", [False, True])
def test_the_logits_are_the_models_own(family: str, dtype: torch.dtype, laid_out: bool) -> None:
    model = cases.model(family).to(dtype)
    prompts = [[i % model.config.vocab_size for i in ids] for ids in PROMPTS]
    if laid_out:
        with LaidOut(model).used():
            found = probe.disagreement(model, prompts, own_attention(model))
    else:
        found = probe.disagreement(model, prompts, own_attention(model))
    assert found.problem is None
    assert found.lean


@pytest.mark.parametrize("family", ["gemma", "cohere", "gpt2"])
def test_other_families_go_through_their_own_code(family: str) -> None:
    assert not fits(cases.model(family))


def test_a_llama_with_a_part_added_goes_through_its_own_code() -> None:
    model: Any = tiny.model()
    assert fits(model)
    model.model.layers[0].self_attn.q_norm = torch.nn.Identity()
    assert not fits(model)


def test_what_computes_something_else_is_found_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lidr.engines.probe")
    right = lean._rotated
    monkeypatch.setattr(lean, "_rotated", lambda x, cos, sin: right(x, cos, -sin))
    model = tiny.model()
    found = probe.disagreement(model, PROMPTS, own_attention(model))
    assert found.problem is None
    assert not found.lean
    assert "layers are called through transformers' code: LlamaForCausalLM gives other logits" in caplog.text


@torch.inference_mode()
def test_a_layer_takes_about_twenty_calls() -> None:
    """What the module is for: far fewer than through transformers' own layers."""
    model = tiny.model()
    layers = model.config.num_hidden_layers
    with LaidOut(model).used():
        calls = {kind: _calls(model, lean=kind) / layers for kind in (True, False)}
    assert calls[True] < 0.55 * calls[False]


def _calls(model: PreTrainedModel, *, lean: bool) -> int:
    """Kernels of a decoding step of 8 rows, views not counted."""
    from lidr.engines.cohort import NO_PREFIX
    from lidr.engines.decoder import Decoder

    decoder = Decoder(model, lean=lean)
    cohort, logits = decoder.admit([[5, 6, 7]] * 8, [NO_PREFIX] * 8)
    cohort.add(logits.argmax(-1))
    views = (
        "view",
        "transpose",
        "slice",
        "select",
        "split",
        "reshape",
        "as_strided",
        "unsqueeze",
        "expand",
        "narrow",
    )
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        decoder.step([cohort])
    return sum(e.count for e in profile.key_averages() if not any(view in e.key for view in views))


@torch.inference_mode()
def test_layers_that_read_the_same_input_are_one_product() -> None:
    model: Any = tiny.model()
    attention = model.model.layers[0].self_attn
    layers = [attention.q_proj, attention.k_proj, attention.v_proj]
    x = torch.randn(8, 32)
    expected = [layer(x) for layer in layers]
    with LaidOut(model).used():
        whole = joined_product(x, *layers)
        parts = [layer(x) for layer in reversed(layers)][::-1]
        again = [layers[0](x), layers[0](x), layers[2](x)]
    for found in (whole, parts, [again[1], expected[1], again[2]]):
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    assert torch.equal(joined_product(x, *layers)[0], expected[0])
