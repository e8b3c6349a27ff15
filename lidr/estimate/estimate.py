"""The estimate of a run: what of each stage is left to do, and what that takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lidr.config import Accelerator, EngineConfig, EngineKind, RunConfig
from lidr.config.judge_schema import JudgingConfig
from lidr.estimate import judging as judges
from lidr.estimate import money, tasks
from lidr.estimate.asking import Answering, Asked
from lidr.estimate.disk import Disk, disk
from lidr.estimate.left import Left, StageState
from lidr.estimate.need import Need, together
from lidr.estimate.ranges import Range
from lidr.estimate.ranking import Ranking
from lidr.estimate.shared import plan_keys
from lidr.estimate.speed import AnswerSpeed, Measured, Used
from lidr.estimate.training import Training
from lidr.estimate.translating import Translating
from lidr.estimate.written import size
from lidr.stages import Stage, StageKind, stages
from lidr.store import RunDirectory


@dataclass(frozen=True)
class StageEstimate:
    """One stage; `need` is nothing where it is done.

    key: the same in all runs that share it, None where it is not shared, as where it is done by other code than this.
    """

    stage: Stage
    state: StageState
    need: Need
    key: str | None = None


@dataclass(frozen=True)
class Estimate:
    """One run.

    counting, answers: how prompt tokens and answer lengths are known, in words.
    used: of servers that are paid for, so far. warnings: a line each. judges: what each has to be asked, by name.
    """

    run: RunDirectory
    stages: tuple[StageEstimate, ...]
    counting: str
    answers: str
    disk: Disk
    pays: bool
    used: Used
    measured: Measured | None
    warnings: tuple[str, ...]
    judges: Mapping[str, Need] = field(default_factory=dict)

    @property
    def total(self) -> Need:
        return together(each.need for each in self.stages)


def estimate(
    config: RunConfig,
    probe: Callable[[Answering, Training], Measured] | None = None,
    judging: JudgingConfig | None = None,
) -> Estimate:
    """Counts what a run still needs; loads nothing but a tokenizer.

    Args:
        config: a run whose prompts are there, as `lidr.preflight.preflight` finds out.
        probe: measures speed; without it no time is given.
        judging: who is to judge the run afterwards; it is in no sum, as it is no part of the run.

    Raises:
        LidrError: files of the run are broken, or the probe failed.
    """
    run = RunDirectory.of(config)
    left = Left(config, run)
    plain = Answering(left)
    asks = any(s.kind.loads_model and not left.state(s).is_done for s in stages(config))
    asks = asks and bool(config.iterations or config.asked_benchmarks)
    measured = probe(plain, Training(plain)) if probe and asks else None
    answering = Answering(left, measured.seen) if measured else plain
    needs, keys = _Needs(answering, measured), plan_keys(left)
    each = tuple(StageEstimate(s, left.state(s), needs.of(s), keys.get(s)) for s in stages(config))
    total, used = together(e.need for e in each), money.used(run)
    paid = together(e.need for e in each if money.endpoint_of(e.stage.kind, config))
    room = disk(total, Path(config.paths.outputs))
    warnings = [*money.shortfalls(config, paid, used), *_room_warnings(room), *_refusals(each)]
    if any(e.stage.kind is StageKind.EVALUATION and not e.state.is_done for e in each):
        warnings += tasks.warnings(config)
    return Estimate(
        run=run,
        stages=each,
        counting=answering.model.counter.basis,
        answers=_basis(answering),
        disk=room,
        pays=any(money.endpoint_of(s.kind, config) for s in stages(config)),
        used=used,
        measured=measured,
        warnings=tuple(warnings),
        judges={} if judging is None else judges.judging(answering, judging),
    )


class _Needs:
    """What each stage needs, with time where it was measured and money where it is paid for."""

    def __init__(self, answering: Answering, measured: Measured | None) -> None:
        self.answering, self.measured = answering, measured
        self.left, self.config = answering.left, answering.config
        other = self.config.translator.model
        asked = Asked.of(other) if other else answering.model
        self.translating, self.ranking = Translating(answering, asked), Ranking(answering, asked)
        self.training = Training(answering)

    def of(self, stage: Stage) -> Need:
        if self.left.state(stage).is_done:
            return Need()
        need, seconds = self._counted(stage), None
        if not stage.kind.loads_model:
            return need
        if self.measured is not None:
            seconds = self._seconds(stage, need, self.measured)
        if need.seconds is None:
            return money.priced(need, money.endpoint_of(stage.kind, self.config))
        nothing = not need.requests.high and stage.kind is not StageKind.TRAINING
        return replace(
            money.priced(need, money.endpoint_of(stage.kind, self.config)),
            seconds=Range.exact(0) if nothing else seconds,
        )

    def _counted(self, stage: Stage) -> Need:
        iteration = stage.iteration
        return {
            StageKind.PROMPTS: lambda: self.answering.prompts_stage(iteration),
            StageKind.RESPONSES: lambda: self.answering.responses(iteration),
            StageKind.TRANSLATIONS: lambda: self.translating.translations(iteration),
            StageKind.SAMPLES: lambda: self.ranking.samples(iteration),
            StageKind.SCORES: lambda: self.ranking.scores(iteration),
            StageKind.PAIRS: lambda: self.training.pairs_stage(iteration),
            StageKind.TRAINING: lambda: self.training.training(iteration),
            StageKind.EVALUATION: lambda: self.answering.evaluation(iteration),
        }[stage.kind]()

    def _seconds(self, stage: Stage, need: Need, measured: Measured) -> Range | None:
        if stage.kind is StageKind.TRAINING:
            return self._training_seconds(stage.iteration, need, measured)
        speed, engine = measured.answers, self.config.engine
        if stage.kind in (StageKind.TRANSLATIONS, StageKind.SCORES):
            speed, engine = measured.translation, self.config.translator.engine or engine
        if stage.kind is StageKind.SCORES and engine.kind is not EngineKind.TRANSFORMERS:
            return None  # what scores was not measured
        return _shared(speed, need, engine, self.config.trainer.accelerator)

    def _training_seconds(self, iteration: int, need: Need, measured: Measured) -> Range | None:
        if measured.training is None:
            return None
        steps, config = self.training.steps(need.pairs), self.config
        whole = measured.training.seconds(
            self.training.pairs(iteration),
            steps,
            config.training.epochs,
            config.objective.name.needs_reference,
        )
        return whole * self.training.ahead(iteration, steps)


def _shared(speed: AnswerSpeed, need: Need, engine: EngineConfig, accelerator: Accelerator) -> Range | None:
    """Processes on GPUs of their own are so many times as fast; those that share cores are not measured."""
    if engine.processes > 1 and accelerator is Accelerator.CPU:
        return None
    return speed.seconds(need, engine.processes)


def _basis(answering: Answering) -> str:
    """Where the lengths of answers are known from, over all languages."""
    found: list[str] = []
    for iteration in range(1, answering.config.iterations + 1):
        found += [answer.basis for answer in answering.answers(iteration).values()]
    for name in answering.config.asked_benchmarks:
        found += [answer.basis for answer in answering.benchmark_answers(name, 0).values()]
    return " and ".join(dict.fromkeys(found))


def _room_warnings(room: Disk) -> list[str]:
    if room.needed is None or room.needed.expected <= room.free:
        return []
    return [f"paths.outputs: {size(room.needed.expected)} are needed, {size(room.free)} are free"]


def _refusals(each: tuple[StageEstimate, ...]) -> list[str]:
    return [f"{e.stage.name} is {e.state}" for e in each if e.state.reason]
