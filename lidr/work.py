"""What each stage does: from the files of the stages before it to its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lidr import jsonl
from lidr.config import EngineConfig, RivalConfig, RunConfig
from lidr.engines.base import Engine
from lidr.importing import importing
from lidr.prompts import AlignmentReport
from lidr.records import to_json
from lidr.shards import Shards, share_out, take_over
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from lidr.synthesis import resume
from lidr.synthesis.index import Share
from lidr.synthesis.lazy import LazyEngine
from lidr.synthesis.read import PromptFile, routes_for

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
    prompts.refuse_conversations(aligned, config)
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


@dataclass(frozen=True)
class Answers:
    """The files that a stage fills by a model, and what loads it."""

    jobs: list[resume.Job]
    engine: EngineConfig
    load: Callable[[], Engine]


def answer_share(job: Job, share: Share, number: int) -> None:
    """One process's part of a round of a stage whose requests several share; see `lidr.shards`."""
    answers, shards = _ANSWERS[job.stage.kind](job), Shards(job.run, job.stage)
    engine = LazyEngine(answers.load)
    for file in resume.rounds(answers.jobs)[number]:
        resume.complete_share(file, shards.file(file, shards.folder(share)), share, engine)


def _answer(job: Job) -> int:
    """Fills the stage's files; returns the number of their records."""
    answers = _ANSWERS[job.stage.kind](job)
    _share_out(job, answers)
    return resume.complete_all(answers.jobs, LazyEngine(answers.load), job.stage.name)


def _share_out(job: Job, answers: Answers) -> None:
    """The part of several processes, where the engine has them or an earlier attempt's did."""
    shards = Shards(job.run, job.stage)
    take_over(shards, answers.jobs)
    if answers.engine.processes > 1:
        share_out(shards, answers.jobs, answers.engine, job.config.trainer)


def _responses(job: Job) -> Outcome:
    return Outcome({"responses": _answer(job)})


def _response_answers(job: Job) -> Answers:
    from lidr.synthesis.generate import response_jobs

    folder, engine = job.sibling("prompts"), job.config.engine
    files = {code: PromptFile(folder / f"{code}.jsonl", code) for code in job.config.languages.trained}
    return Answers(response_jobs(files, engine.sampling, job.folder), engine, lambda: _engine(job))


def _translations(job: Job) -> Outcome:
    _answer(job)
    return Outcome({"directions": len(routes_for(job.config.languages, job.config.pairs))})


def _translation_answers(job: Job) -> Answers:
    from lidr.synthesis.translate import translation_jobs

    config, translator = job.config, job.config.translator
    jobs = translation_jobs(
        job.sibling("responses"), config.languages, translator, job.folder, config.pairs.control
    )
    return Answers(jobs, translator.engine or config.engine, lambda: _translator(job))


def _samples(job: Job) -> Outcome:
    return Outcome({"samples": _answer(job)})


def _sample_answers(job: Job) -> Answers:
    from lidr.synthesis.generate import sample_jobs

    config, engine, rival = job.config, job.config.engine, _rival(job)
    files = {
        code: PromptFile(job.sibling("prompts") / f"{code}.jsonl", code)
        for code in config.languages.non_dominant
    }
    sampling = replace(engine.sampling, temperature=rival.temperature, top_p=rival.top_p)
    return Answers(sample_jobs(files, sampling, job.folder, rival.samples), engine, lambda: _engine(job))


def _rival(job: Job) -> RivalConfig:
    if job.config.pairs.rival is None:
        raise ValueError(f"{job.stage.name} belongs to a rival's pairs")
    return job.config.pairs.rival


def _scores(job: Job) -> Outcome:
    return Outcome({"scores": _answer(job)})


def _score_answers(job: Job) -> Answers:
    from lidr.synthesis.scores import score_jobs

    config, translator = job.config, job.config.translator
    answers = job.sibling("responses"), job.sibling("samples")
    jobs = score_jobs(*answers, config.languages, config.pairs, translator, job.folder)
    return Answers(jobs, translator.engine or config.engine, lambda: _scorer(job))


def _pairs(job: Job) -> Outcome:
    from lidr.synthesis.build import build_pairs

    compared = job.sibling("translations" if job.config.pairs.rival is None else "scores")
    audit = build_pairs(job.sibling("prompts"), job.sibling("responses"), compared, job.folder, job.config)
    return Outcome({"candidates": audit["candidates"], "kept": audit["kept"]})


def _training(job: Job) -> Outcome:
    with importing():
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

    _tasks(job)
    answers = _evaluation_answers(job)
    _share_out(job, answers)
    scores = evaluate(job.config, job.stage.iteration, answers.load, job.folder, job.sibling("pairs"))
    return Outcome({"scores": len(scores)})


def _tasks(job: Job) -> None:
    """lm-eval's benchmarks come first: an engine may keep a GPU's memory until its process ends."""
    if job.config.lm_eval_benchmarks:
        from lidr.evaluation import harness

        harness.complete(job.config, job.model, job.folder)


def _evaluation_answers(job: Job) -> Answers:
    from lidr.evaluation.run import answer_jobs

    return Answers(answer_jobs(job.config, job.folder), job.config.engine, lambda: _engine(job))


_WORK: dict[StageKind, Callable[[Job], Outcome]] = {
    StageKind.PROMPTS: _prompts,
    StageKind.RESPONSES: _responses,
    StageKind.TRANSLATIONS: _translations,
    StageKind.SAMPLES: _samples,
    StageKind.SCORES: _scores,
    StageKind.PAIRS: _pairs,
    StageKind.TRAINING: _training,
    StageKind.EVALUATION: _evaluation,
}
_ANSWERS: dict[StageKind, Callable[[Job], Answers]] = {
    StageKind.RESPONSES: _response_answers,
    StageKind.TRANSLATIONS: _translation_answers,
    StageKind.SAMPLES: _sample_answers,
    StageKind.SCORES: _score_answers,
    StageKind.EVALUATION: _evaluation_answers,
}


def _engine(job: Job) -> Engine:
    from lidr.engines.load import load_engine

    return load_engine(job.config, job.model, job.stage.model_iteration, job.run.ledger)


def _translator(job: Job) -> Engine:
    from lidr.engines.load import load_translator

    return load_translator(job.config, job.model, job.stage.model_iteration, job.run.ledger)


def _scorer(job: Job) -> Engine:
    from lidr.engines.load import load_scorer

    return load_scorer(job.config, job.model)
