"""A `vllm` that records what it is told and plays answers, the youngest request's first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lidr.config import (
    Accelerator,
    EngineConfig,
    EngineKind,
    ModelConfig,
    Precision,
    SamplingConfig,
    VllmConfig,
)
from lidr.engines.base import Completion, Engine
from lidr.engines.vllm import VllmEngine

GREEDY = SamplingConfig(max_new_tokens=24, repetition_penalty=1.1)
END = 2  # <end> of tests.tiny
FINAL_ONLY = "final only"


@dataclass(frozen=True)
class Answer:
    """What the fake model writes."""

    ids: tuple[int, ...]
    reason: str = "stop"


@dataclass
class FakeEngine:
    """Finishes one request a step; `answer` makes its tokens of the request's parameters and prompt."""

    context: int
    answer: Callable[[Any, list[int]], Answer]
    arguments: dict[str, Any] = field(default_factory=dict)
    added: list[SimpleNamespace] = field(default_factory=list)
    inside: list[SimpleNamespace] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    peak: int = 0
    fails_after: int | None = None
    error: Exception = field(default_factory=lambda: RuntimeError("the worker died\nsecond line"))
    steps: int = 0
    alive: bool = True

    @property
    def model_config(self) -> SimpleNamespace:
        return SimpleNamespace(max_model_len=self.context)

    def add_request(self, name: str, prompt: dict[str, list[int]], params: Any, lora_request: Any) -> str:
        request = SimpleNamespace(name=name, ids=prompt["prompt_token_ids"], params=params, lora=lora_request)
        self.added.append(request)
        self.inside.append(request)
        self.peak = max(self.peak, len(self.inside))
        return name

    def step(self) -> list[SimpleNamespace]:
        self.steps += 1
        if self.fails_after is not None and self.steps > self.fails_after:
            raise self.error
        request = self.inside.pop()
        answer = self.answer(request.params, request.ids)
        output = SimpleNamespace(token_ids=answer.ids, finish_reason=answer.reason)
        running = [SimpleNamespace(request_id=r.name, finished=False, outputs=[]) for r in self.inside[:1]]
        return [*running, SimpleNamespace(request_id=request.name, finished=True, outputs=[output])]

    @property
    def engine_core(self) -> SimpleNamespace:
        return SimpleNamespace(shutdown=self._shutdown)

    def _shutdown(self) -> None:
        self.alive = False

    def abort_request(self, names: list[str]) -> None:
        self.aborted += names


def install(monkeypatch: pytest.MonkeyPatch, fake: FakeEngine, device: str = "cpu") -> None:
    """Puts the fake where `import vllm` finds it."""

    def start(arguments: dict[str, Any]) -> FakeEngine:
        fake.arguments = arguments
        return fake

    modules = {
        "vllm": {
            "__version__": "0.0",
            "EngineArgs": lambda **arguments: arguments,
            "LLMEngine": SimpleNamespace(from_engine_args=start),
            "SamplingParams": lambda **values: SimpleNamespace(**values),
        },
        "vllm.inputs": {"tokens_input": lambda ids: {"type": "token", "prompt_token_ids": ids}},
        "vllm.platforms": {"current_platform": SimpleNamespace(device_type=device)},
        "vllm.sampling_params": {"RequestOutputKind": SimpleNamespace(FINAL_ONLY=FINAL_ONLY)},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": lambda *values: values},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)


def counted(items: list[Any], read: list[Any]) -> Iterator[Any]:
    """The items one by one; `read` grows as they are taken."""
    for item in items:
        read.append(item)
        yield item


def engine_config(
    batch_size: int = 4, token_budget: int | None = None, processes: int = 1, **vllm: Any
) -> EngineConfig:
    section = VllmConfig(**{"tensor_parallel": 1, "memory_share": 0.5, "eager": True, **vllm})
    return EngineConfig("vllm", EngineKind.VLLM, batch_size, token_budget, processes, GREEDY, section)


def model_config(path: Path, precision: Precision = Precision.FP32) -> ModelConfig:
    return ModelConfig("tiny", str(path), None, precision, None)


def echo(params: Any, prompt: list[int]) -> Answer:
    """The prompt back, so that a completion tells whose it is."""
    return Answer((*prompt[1:], END))


def started(
    monkeypatch: pytest.MonkeyPatch, folder: Path, fake: FakeEngine, engine: EngineConfig | None = None
) -> VllmEngine:
    install(monkeypatch, fake)
    return VllmEngine(engine or engine_config(), model_config(folder), str(folder), Accelerator.CPU, seed=7)


def stream(
    engine: Engine, requests: Any, sampling: SamplingConfig = GREEDY, **options: Any
) -> list[Completion]:
    return [c for batch in engine.stream(requests, sampling, **options) for c in batch]


class Hidden:
    """An import hook for which there is no vLLM."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] == "vllm":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
