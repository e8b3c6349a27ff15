"""Benchmark kind ``lm_eval``: tasks of lm-evaluation-harness in this process, a task at a time.

A finished task's results are stored at once (`lidr.evaluation.harness_store`): an attempt that was killed goes on with
the next one.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lidr.config import LmEvalConfig, RunConfig
from lidr.evaluation.harness_run import Runner
from lidr.evaluation.harness_store import finished, store
from lidr.evaluation.harness_tasks import catalogue, parts
from lidr.models import load_model, load_tokenizer, torch_device

log = logging.getLogger(__name__)


class Loaded(NamedTuple):
    """A model and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


@dataclass(frozen=True)
class _Task:
    """A task that is left to do; `metrics` are lm-eval's, by their names in tables."""

    benchmark: str
    language: str
    name: str
    metrics: Mapping[str, str]
    known: Any


def complete(config: RunConfig, model: str, folder: Path) -> None:
    """Runs the tasks of a run's benchmarks that have no results yet. The model is gone again afterwards.

    Args:
        config: the run.
        model: folder or hub id of M_t; it is loaded only where a task is left.
        folder: ``iteration-<t>/evaluation``.

    Raises:
        LidrError: lm-eval is not installed, or a task is unknown, has no data, or not what is asked of it.
    """
    left = [
        task
        for name, benchmark in config.lm_eval_benchmarks.items()
        for task in _left(name, benchmark, config, folder / name)
    ]
    if not left:
        return
    loaded = _load(config, model)
    try:
        _run(left, config, loaded, folder)
    finally:
        del loaded
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _left(name: str, benchmark: LmEvalConfig, config: RunConfig, folder: Path) -> Iterator[_Task]:
    where, codes = f"evaluation.{name}", benchmark.codes(config.languages)
    known = catalogue(benchmark, codes, where)
    for language in codes:
        there = finished(folder, language)
        for task, metrics in benchmark.tasks(language).items():
            for part in parts(known, task, where):
                if part not in there:
                    yield _Task(name, language, part, metrics, known)


def _load(config: RunConfig, path: str) -> Loaded:
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    revision = config.model.revision
    device = torch_device(config.trainer.accelerator)
    return Loaded(load_model(path, config.model.precision, device, revision), load_tokenizer(path, revision))


def _run(left: Sequence[_Task], config: RunConfig, loaded: Loaded, folder: Path) -> None:
    runner: Runner | None = None
    for place, task in enumerate(left, start=1):
        benchmark, where = config.lm_eval_benchmarks[task.benchmark], f"evaluation.{task.benchmark}"
        if runner is None or runner.where != where:
            runner = Runner(*loaded, benchmark, config.model.system_prompt, where)
        result = runner.run(task.known, task.name, task.language, task.metrics)
        store(folder / task.benchmark, task.language, task.name, result)
        log.info("%s: %s, %d items (%d of %d)", where, task.name, len(result.items), place, len(left))
