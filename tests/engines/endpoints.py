"""Engines that talk to a server of the tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lidr.config import (
    EndpointApi,
    EndpointConfig,
    EngineConfig,
    EngineKind,
    ModelConfig,
    Precision,
    SamplingConfig,
)
from lidr.engines.base import Completion, Request
from lidr.engines.openai import OpenAIEngine

GREEDY = SamplingConfig(max_new_tokens=20, repetition_penalty=1.0)
SAMPLED = SamplingConfig(max_new_tokens=20, repetition_penalty=1.0, temperature=0.7, top_p=0.9)


def endpoint(url: str, **values: Any) -> EndpointConfig:
    defaults: dict[str, Any] = {
        "model": "M",
        "api": EndpointApi.COMPLETIONS,
        "key_variable": "LIDR_TEST_KEY",
        "concurrency": 4,
        "timeout": 30.0,
        "retries": 2,
        "budget_tokens": None,
        "budget_cost": None,
        "price_input": None,
        "price_output": None,
    }
    return EndpointConfig(url=url, **(defaults | values))


def engine(
    url: str,
    folder: Path,
    path: str = "",
    iteration: int = 0,
    seed: int = 0,
    system_prompt: str | None = None,
    section: str = "engine",
    **values: Any,
) -> OpenAIEngine:
    """An engine whose ledger is ``usage.jsonl`` in the folder."""
    settings = EngineConfig("openai", EngineKind.OPENAI, 1, None, 1, GREEDY, None, endpoint(url, **values))
    model = ModelConfig("tiny", path, None, Precision.FP32, system_prompt)
    return OpenAIEngine(settings, model, path, iteration, folder / "usage.jsonl", seed, section)


def requests(number: int) -> list[Request]:
    return [Request(f"k{i}", f"word {i}") for i in range(number)]


def answers(
    engine: OpenAIEngine,
    wanted: Iterable[Request],
    sampling: SamplingConfig = GREEDY,
    done: frozenset[str] = frozenset(),
) -> dict[str, Completion]:
    """All completions by key; none comes twice."""
    found: dict[str, Completion] = {}
    collect(engine, wanted, found, sampling, done)
    return found


def collect(
    engine: OpenAIEngine,
    wanted: Iterable[Request],
    found: dict[str, Completion],
    sampling: SamplingConfig = GREEDY,
    done: frozenset[str] = frozenset(),
) -> None:
    """Adds completions as they come, so that those before an error are there."""
    for batch in engine.stream(wanted, sampling, done):
        for answer in batch:
            assert answer.key not in found
            found[answer.key] = answer


def ledger(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "usage.jsonl").read_text().splitlines()]
