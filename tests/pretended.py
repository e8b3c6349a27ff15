"""Runs whose stages write what they depend on instead of their work; what they share, they share as real ones."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from lidr import prompts, sharing, work
from lidr.config import RunConfig
from lidr.execute import ensure
from lidr.files import write_text
from lidr.hashing import sha256
from lidr.paths import model_content
from lidr.stages import StageKind, stages
from lidr.store import RunDirectory

Made = Counter[StageKind]


def pretend(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Every stage but the prompts pretends from now on, and prompts are read once.

    Returns:
        How many stages of each kind were computed; it goes on counting.
    """
    counts: Made = Counter()

    def fake(job: work.Job) -> work.Outcome:
        counts[job.stage.kind] += 1
        text = "\n".join(_read(job)) + "\n"
        write_text(job.folder / "timing.jsonl", f"{time.time()}\n")
        values = sorted(job.stage.config_values(job.config).items())
        write_text(job.folder / "a.jsonl", text + "".join(f"{value}\n" for value in values))
        if job.stage.kind is not StageKind.TRAINING:
            return work.Outcome({"records": 1})
        job.sibling("model").mkdir(exist_ok=True)
        weights = text + "".join(f"{key} {value}\n" for key, value in values if key != "reference")
        write_text(job.sibling("model") / "model.safetensors", weights)
        return work.Outcome({}, (job.folder, job.sibling("model")))

    monkeypatch.setattr(prompts, "load", cache(prompts.load))
    for kind in StageKind:
        if kind is not StageKind.PROMPTS:
            monkeypatch.setitem(work._WORK, kind, fake)
    return counts


def _read(job: work.Job) -> Iterator[str]:
    """Hashes of all that a stage reads: files, the model, and the reference of a training."""
    for stage in job.stage.reads(job.config):
        yield from (
            sha256(path) for path in sorted(job.run.folder(stage).glob("*.jsonl")) if path.stem != "timing"
        )
    if job.stage.kind.loads_model:
        yield _model(job, job.stage.model_iteration)
    if job.stage.kind is StageKind.TRAINING:
        yield _model(job, 0 if job.config.trains_against_initial else job.stage.model_iteration)


def _model(job: work.Job, t: int) -> str:
    if t == 0:
        return model_content(job.config.model)
    return sha256(job.run.iteration(t) / "model" / "model.safetensors")


def no_wait(owner: str) -> None:
    raise AssertionError(f"waits for {owner}")


def compute(config: RunConfig, wait: Callable[[str], None] = no_wait) -> RunDirectory:
    """All stages of a run, as the loop does them."""
    run = RunDirectory.of(config)
    for stage in stages(config):
        with sharing.once(stage, config, run, wait) as taken:
            if not taken:
                ensure(stage, config, run)
    return run
