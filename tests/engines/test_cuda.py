"""The transformers engine where there is a GPU: slots, captured passes, prompts by one kernel."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from lidr.chat import ChatFormat
from lidr.config import Precision, SamplingConfig
from lidr.engines import transformers
from lidr.engines.base import Request
from lidr.engines.graphs import GraphDecoder
from lidr.engines.transformers import TransformersEngine
from lidr.lab.world import problems, render_prompt
from lidr.models import load_model, load_tokenizer
from lidr.paths import BUILTIN_LAB, resolve_model
from tests import tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
GREEDY = SamplingConfig(max_new_tokens=24, repetition_penalty=1.0)
PENALISED = replace(GREEDY, repetition_penalty=1.1)
SAMPLED = SamplingConfig(max_new_tokens=24, repetition_penalty=1.0, temperature=1.0, top_p=0.9)
REQUESTS = [Request(f"k{i}", "word " * (i % 5) + str(i), "<t>" if i % 2 else "") for i in range(11)]


@pytest.fixture
def engine() -> TransformersEngine:
    """In fp32, where batches do not change an answer."""
    return TransformersEngine(tiny.model().cuda(), ChatFormat(tiny.tokenizer(), None), batch_size=4)


def texts(engine: TransformersEngine, sampling: SamplingConfig) -> dict[str, str]:
    return {c.key: c.text for batch in engine.stream(REQUESTS, sampling) for c in batch}


def plain(engine: TransformersEngine, request: Request, penalty: float) -> str:
    """By transformers' own `generate`, a request at a time."""
    ids = torch.tensor([engine.chat.prompt_ids(*request.turn)], device="cuda")
    generate: Any = engine.model.generate
    output = generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=24,
        repetition_penalty=penalty,
        do_sample=False,
        eos_token_id=2,
        pad_token_id=0,
    )
    return str(engine.chat.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))


@pytest.mark.parametrize("penalty", [1.0, 1.1])
def test_greedy_answers_are_those_of_plain_generate(engine: TransformersEngine, penalty: float) -> None:
    expected = {r.key: plain(engine, r, penalty) for r in REQUESTS}
    assert texts(engine, replace(GREEDY, repetition_penalty=penalty)) == expected


def test_with_an_adapter_too() -> None:
    """Its layers keep their own code; the pass is captured all the same."""
    torch.manual_seed(0)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model: Any = get_peft_model(tiny.model(), lora).cuda().eval()
    own = TransformersEngine(model, ChatFormat(tiny.tokenizer(), None), batch_size=4)
    assert texts(own, PENALISED) == {r.key: plain(own, r, 1.1) for r in REQUESTS}


@pytest.mark.parametrize("size", [5, 48])
def test_the_labs_answers_are_those_of_a_cpu(size: int) -> None:
    """Real weights, in fp32; where two tokens are nearly alike another one may be taken: once in 24, here."""
    path, sampling = resolve_model(BUILTIN_LAB), SamplingConfig(max_new_tokens=64, repetition_penalty=1.1)
    requests = [
        Request(f"{code}{i}", prompt, opening=prompt[:3])
        for code in ("en", "ru", "zh")
        for i, prompt in enumerate(render_prompt(problem, code) for problem in problems("test")[:16])
    ]
    found = []
    for device in ("cuda", "cpu"):
        model = load_model(path, Precision.FP32, torch.device(device))
        own = TransformersEngine(model, ChatFormat(load_tokenizer(path), None), size)
        found.append({c.key: c.text for batch in own.stream(requests, sampling) for c in batch})
    ours, theirs = found
    assert sum(ours[key] == theirs[key] for key in theirs) >= len(requests) - 2


def test_passes_are_captured(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One graph for each number of rows, and no more; what they replay is what the model computes."""
    made: list[GraphDecoder] = []

    class Watched(GraphDecoder):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(transformers, "GraphDecoder", Watched)
    captured = texts(engine, PENALISED)
    (decoder,) = made
    assert decoder._captures
    assert 1 <= len(decoder._graphs) <= 4
    monkeypatch.setattr(Watched, "_capture", lambda *_: None)
    assert texts(engine, PENALISED) == captured
    assert not made[1]._graphs


def test_a_model_that_waits_for_the_gpu_is_called(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lidr.engines")
    expected = texts(engine, PENALISED)
    handle = engine.model.lm_head.register_forward_pre_hook(lambda *_: torch.cuda.synchronize())
    try:
        assert texts(engine, PENALISED) == expected
    finally:
        handle.remove()
    assert "passes are not captured" in caplog.text
    assert texts(engine, PENALISED) == expected


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_answers_in_bf16_and_fp32_repeat(precision: torch.dtype) -> None:
    """By engines of their own, prompts by one kernel in bf16; the same requests in the same order."""
    found = [
        texts(
            TransformersEngine(tiny.model().to("cuda", precision), ChatFormat(tiny.tokenizer(), None), 4),
            PENALISED,
        )
        for _ in range(2)
    ]
    assert found[0] == found[1]


def test_sampled_answers_repeat(engine: TransformersEngine) -> None:
    first = texts(engine, SAMPLED)
    assert first == texts(engine, SAMPLED)
    assert first != texts(engine, replace(SAMPLED, temperature=0.5))
