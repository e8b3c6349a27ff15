"""What each stage does: from the files of the stages before it to its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lidr import jsonl
from lidr.config import RunConfig
from lidr.engines.base import Engine
from lidr.prompts import AlignmentReport
from lidr.records import to_json
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """Counts for the manifest, and the folders whose files are the stage's results."""

    counts: dict[str, Any]
    folders: tuple[Path, ...] = field(default=())


@dataclass(frozen=True)
class Job:
    """One stage of one run, with what it needs to do its work.

    build_pairs: makes the iteration's pairs where they are not there yet; training calls it as ``prepare_data``.
    """

    stage: Stage
    config: RunConfig
    run: RunDirectory
    build_pairs: Callable[[], object]

    @property
    def folder(self) -> Path:
        return self.run.folder(self.stage)

    def sibling(self, name: str) -> Path:
        """Another folder of the same iteration."""
        return self.run.iteration(self.stage.iteration) / name

    @property
    def model(self) -> str:
        return self.run.model(self.config, self.stage.model_iteration)


def do(job: Job) -> Outcome:
    """Does a stage's work, or what is left of it after an attempt that was killed."""
    return _WORK[job.stage.kind](job)


def _prompts(job: Job) -> Outcome:
    from lidr import prompts

    config, languages = job.config.prompts, job.config.languages.trained
    aligned = prompts.load(config, languages)
    schedule, iteration = job.config.prompt_schedule, job.stage.iteration
    chosen = prompts.select(aligned, config, schedule, iteration, job.config.seed)
    for language, records in chosen.items():
        jsonl.write(job.folder / f"{language}.jsonl", map(to_json, records))
    _show_dropped(aligned.report)
    return Outcome({"prompts": len(chosen[languages[0]]), "alignment": aligned.report.to_json()})


def _show_dropped(report: AlignmentReport) -> None:
    if not report.dropped:
        return
    log.warning("%d prompts are not in every language and are left out:", report.dropped)
    for language in report.languages:
        if not language.complete:
            log.warning("  %s", language.describe())


def _responses(job: Job) -> Outcome:
    from lidr.synthesis import read
    from lidr.synthesis.generate import generate

    folder = job.sibling("prompts")
    prompts = {
        code: list(read.prompts(folder / f"{code}.jsonl", code)) for code in job.config.languages.trained
    }
    generate(prompts, _engine(job), job.config.engine.sampling, job.folder)
    return Outcome({"responses": sum(map(len, prompts.values()))})


def _translations(job: Job) -> Outcome:
    from lidr.synthesis.translate import translate

    config = job.config
    translate(job.sibling("responses"), config.languages, _translator(job), config.translator, job.folder)
    return Outcome({"directions": 2 * len(config.languages.non_dominant)})


def _pairs(job: Job) -> Outcome:
    from lidr.synthesis.build import build_pairs

    audit = build_pairs(
        job.sibling("prompts"), job.sibling("responses"), job.sibling("translations"), job.folder, job.config
    )
    return Outcome({"candidates": audit["candidates"], "kept": audit["kept"]})


def _training(job: Job) -> Outcome:
    from lidr.training import TrainingJob, train

    summary = train(
        TrainingJob(
            config=job.config,
            iteration=job.stage.iteration,
            policy=job.model,
            reference=job.run.model(job.config, 0) if job.config.trains_against_initial else job.model,
            pairs=job.sibling("pairs") / "pairs.jsonl",
            build_pairs=job.build_pairs,
            output=job.sibling("model"),
            folder=job.folder,
        )
    )
    counts = {key: value for key, value in summary.to_dict().items() if key != "resumed_from"}
    return Outcome(counts, (job.folder, job.sibling("model")))


def _evaluation(job: Job) -> Outcome:
    from lidr.evaluation.run import evaluate

    scores = evaluate(job.config, job.stage.iteration, lambda: _engine(job), job.folder, job.sibling("pairs"))
    return Outcome({"scores": len(scores)})


_WORK: dict[StageKind, Callable[[Job], Outcome]] = {
    StageKind.PROMPTS: _prompts,
    StageKind.RESPONSES: _responses,
    StageKind.TRANSLATIONS: _translations,
    StageKind.PAIRS: _pairs,
    StageKind.TRAINING: _training,
    StageKind.EVALUATION: _evaluation,
}


def _engine(job: Job) -> Engine:
    from lidr.engines.load import load_engine

    return load_engine(job.config, job.model, job.stage.model_iteration, job.run.ledger)


def _translator(job: Job) -> Engine:
    from lidr.engines.load import load_translator

    return load_translator(job.config, job.model, job.stage.model_iteration, job.run.ledger)
