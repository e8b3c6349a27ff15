"""What one process of `make bench-generate` is told, and what it hands back: plain values, as JSON files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lidr.config import SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.files import write_text


@dataclass(frozen=True)
class Workload:
    """Requests that are timed together, in the order of the loop's files."""

    name: str
    requests: tuple[Request, ...]
    sampling: SamplingConfig


@dataclass(frozen=True)
class GenerateSpec:
    """One process.

    Attributes:
        overrides: lidr's configuration: model, precision, threads, engine.
        batch: requests a batch of plain `generate`; None: lidr's engine answers.
    """

    overrides: list[str]
    batch: int | None
    threads: int
    workloads: list[Workload]


@dataclass(frozen=True)
class Timed:
    """A workload's wall clock, from its first request to its last completion, and its completions."""

    seconds: float
    completions: list[Completion]

    @property
    def tokens(self) -> int:
        """Generated tokens, up to the end of turn or the stop text and including it; no padding."""
        return sum(c.tokens for c in self.completions)


@dataclass(frozen=True)
class Measured:
    """A process's workloads by name.

    peak_bytes: largest resident size; of several processes, that of the largest.
    load_seconds: from the end of the imports to a loaded engine; in no ratio.
    versions: of the packages that generated.
    """

    timed: dict[str, Timed]
    load_seconds: float
    peak_bytes: int = 0
    versions: dict[str, str] = field(default_factory=dict)


def missing(requests: Sequence[Request], completions: Sequence[Completion]) -> list[str]:
    """Keys that were not answered exactly once."""
    answered = [c.key for c in completions]
    strange = set(answered) - {r.key for r in requests}
    return sorted({r.key for r in requests if answered.count(r.key) != 1} | strange)


def write_spec(path: Path, spec: GenerateSpec) -> None:
    """For the process to read."""
    _write(path, asdict(spec))


def read_spec(path: Path) -> GenerateSpec:
    """What the parent wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return GenerateSpec(**{**values, "workloads": [_workload(w) for w in values["workloads"]]})


def write_measured(path: Path, measured: Measured) -> None:
    """Whole or not at all."""
    _write(path, asdict(measured))


def read_measured(path: Path) -> Measured:
    """What a process handed back."""
    values = json.loads(path.read_text(encoding="utf-8"))
    timed = {name: _timed(value) for name, value in values["timed"].items()}
    return Measured(**{**values, "timed": timed})


def _write(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(values, ensure_ascii=False))


def _workload(values: dict[str, Any]) -> Workload:
    requests = tuple(map(_request, values["requests"]))
    return Workload(values["name"], requests, SamplingConfig(**values["sampling"]))


def _request(values: dict[str, Any]) -> Request:
    lists = {"stop": tuple(values["stop"]), "labels": tuple(values.get("labels", ()))}
    return Request(**{**values, **lists, "before": tuple(map(tuple, values.get("before", ())))})


def _timed(values: dict[str, Any]) -> Timed:
    found = [
        Completion(**{**c, "finish_reason": FinishReason(c["finish_reason"])}) for c in values["completions"]
    ]
    return Timed(values["seconds"], found)
