"""The whole probe of a run: its engines and its training; once for all jobs of a grid that share them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace

from lidr.config import EngineConfig, EngineKind, RunConfig, TranslatorKind
from lidr.estimate.asking import Answering
from lidr.estimate.probe import Probed, probe, trained
from lidr.estimate.speed import AnswerSpeed, Measured, TrainingSpeed
from lidr.estimate.training import Training


class Prober:
    """Measures what was not measured before."""

    def __init__(self) -> None:
        self._engines: dict[Hashable, Probed] = {}
        self._trainings: dict[Hashable, tuple[TrainingSpeed | None, str]] = {}

    def __call__(self, answering: Answering, training: Training) -> Measured:
        """Training comes first: an engine may keep a GPU's memory to itself.

        Raises:
            LidrError: an engine cannot be loaded or does not answer.
        """
        config = answering.config
        key = _training_key(config)
        if key not in self._trainings:
            self._trainings[key] = _training(answering, training)
        speed, why = self._trainings[key]
        if (key := _engines_key(config)) not in self._engines:
            self._engines[key] = probe(answering)
        found = self._engines[key]
        notes = [why, *_notes("answers", found.answers, config.engine)]
        if config.translator.kind is not TranslatorKind.NONE:
            notes += _notes("translations", found.translation, config.translator.engine or config.engine)
        return Measured(
            found.answers, found.translation, speed, found.seen, found.used, tuple(filter(None, notes))
        )


def _training(answering: Answering, training: Training) -> tuple[TrainingSpeed | None, str]:
    config, left = answering.config, answering.left
    if not config.iterations:
        return None, ""
    from lidr.estimate.training_probe import probe_training

    prompts = [p for records in left.loop_prompts(1).values() for p in records]
    path = left.run.model(config, trained(left))
    speed, why = probe_training(config, path, prompts, training.pairs(1))
    return speed, f"training: {why}" if why else ""


def _notes(what: str, speed: AnswerSpeed, engine: EngineConfig) -> Iterator[str]:
    if engine.kind is EngineKind.OPENAI:
        most = engine.endpoint.concurrency if engine.endpoint else engine.batch_size
    else:
        most = engine.batch_size
    if speed.requests < most:
        yield f"{what} were measured {speed.requests} at a time; up to {most} may be faster"
    if engine.processes > 1:
        yield f"{what}: {engine.processes} processes count as so many times one, on devices of their own"


def _engines_key(config: RunConfig) -> Hashable:
    prompts = replace(config.prompts, limit=1)
    return (config.model, config.engine, config.translator, config.trainer, config.languages, prompts)


def _training_key(config: RunConfig) -> Hashable:
    training = replace(config.training, lr=1.0, weight_decay=0.0, warmup_ratio=0.0, max_grad_norm=1.0)
    return (config.model, config.lora, config.trainer, training, config.languages, config.objective.name)
