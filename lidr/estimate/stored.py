"""What stored answers teach: how long they were, how many were cut off, how many pairs were kept.

Read are finished stages of this run and of runs beside it that asked the same model in the same words.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from lidr import jsonl
from lidr.config import BenchmarkConfig, ModelConfig, PromptsConfig, RunConfig, TranslatorConfig, read_config
from lidr.errors import LidrError
from lidr.estimate import assumed
from lidr.stages import Stage, StageKind, stages
from lidr.store import RunDirectory
from lidr.synthesis.read import Route, file_name
from lidr.synthesis.tags import TranslationError

T = TypeVar("T")
_NOT_SENT = (TranslationError.EMPTY_SOURCE, TranslationError.TRUNCATED_SOURCE, TranslationError.SOURCE_FAILED)


@dataclass(frozen=True)
class StoredAnswers:
    """Answers in one language. whole: characters and tokens of those that are neither empty nor cut off."""

    tokens: tuple[int, ...]
    whole: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class StoredTranslations:
    """Translations of one route that were sent.

    ratios: characters of a translation to those of its source. cut: share that ran until max_new_tokens.
    stands: share that holds a text.
    """

    ratios: tuple[float, ...]
    cut: float
    stands: float


@dataclass(frozen=True)
class _Run:
    config: RunConfig
    run: RunDirectory


class Stored:
    """What there is to learn from for one run."""

    def __init__(self, config: RunConfig, run: RunDirectory) -> None:
        self._own = _Run(config, run)

    def answers(self, iteration: int, language: str) -> StoredAnswers | None:
        """Of the loop's prompts, by the M_t that is nearest to that of an iteration's responses."""
        return self._first(
            StageKind.RESPONSES, iteration, f"{language}.jsonl", _asked_in_the_loop, _read_answers
        )

    def benchmark_answers(self, name: str, iteration: int, language: str) -> StoredAnswers | None:
        """Of a benchmark's prompts, by the M_t nearest to M_iteration."""

        def asked(config: RunConfig) -> Any:
            benchmark = config.asked_benchmarks.get(name)
            return benchmark and (_model(config.model), _benchmark(benchmark))

        return self._first(StageKind.EVALUATION, iteration, f"{name}/{language}.jsonl", asked, _read_answers)

    def translations(self, iteration: int, route: Route) -> StoredTranslations | None:
        """Of one route, by the M_t that is nearest to that of an iteration's translations."""
        name = file_name(route)
        return self._first(StageKind.TRANSLATIONS, iteration, name, _asked_to_translate, _read_translations)

    def kept(self, iteration: int) -> float | None:
        """Share of an iteration's pair candidates that passed the same filters."""

        def asked(config: RunConfig) -> Any:
            return _asked_to_translate(config), config.pairs, config.languages

        return self._first(StageKind.PAIRS, iteration, "audit.json", asked, _read_kept)

    def _first(
        self,
        kind: StageKind,
        iteration: int,
        name: str,
        asked: Callable[[RunConfig], Any],
        read: Callable[[Path], T | None],
    ) -> T | None:
        """The nearest finished stage's file that holds something; this run's before others'."""
        wanted = asked(self._own.config)
        places = [
            (abs(stage.iteration - iteration), age, each.run.folder(stage) / name)
            for age, each in enumerate((self._own, *self._beside))
            if asked(each.config) == wanted
            for stage in stages(each.config)
            if stage.kind is kind and _is_finished(stage, each.run)
        ]
        found = (_read_or_none(read, path) for _, _, path in sorted(places))
        return next((value for value in found if value is not None), None)

    @cached_property
    def _beside(self) -> tuple[_Run, ...]:
        """The newest other runs below the outputs folder, as `RunDirectory.of` lays them out."""
        own = self._own.run.root
        folders = [p.parent for p in own.parent.parent.glob("*/*/config.yaml") if p.parent != own]
        newest = sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)
        return tuple(itertools.islice(_readable(newest), assumed.STORED_RUNS))


def _readable(folders: list[Path]) -> Iterator[_Run]:
    for folder in folders:
        try:
            yield _Run(read_config(folder / "config.yaml"), RunDirectory(folder))
        except LidrError:  # of another version, or no run
            continue


def _read_or_none(read: Callable[[Path], T | None], path: Path) -> T | None:
    """None where a file is not there or not readable: it only would have taught something."""
    try:
        return read(path)
    except (LidrError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _is_finished(stage: Stage, run: RunDirectory) -> bool:
    try:
        return run.manifest(stage) is not None
    except LidrError:
        return False


def _model(model: ModelConfig) -> ModelConfig:
    return replace(model, name="")


def _prompts(prompts: PromptsConfig) -> PromptsConfig:
    """Which set it is, not how much of it."""
    return replace(prompts, root=None, limit=1, shuffle=False)


def _benchmark(benchmark: BenchmarkConfig) -> BenchmarkConfig:
    return replace(benchmark, prompts=_prompts(benchmark.prompts), languages=())


def _translator(translator: TranslatorConfig) -> TranslatorConfig:
    return replace(translator, name="", engine=None)


def _asked_in_the_loop(config: RunConfig) -> Any:
    return _model(config.model), _prompts(config.prompts), config.engine.sampling


def _asked_to_translate(config: RunConfig) -> Any:
    return _asked_in_the_loop(config), _translator(config.translator)


def _records(path: Path) -> list[Mapping[str, Any]]:
    return list(itertools.islice(jsonl.read(path), assumed.STORED_RECORDS))


def _read_answers(path: Path) -> StoredAnswers | None:
    records = _records(path)
    tokens = tuple(int(r["tokens"]) for r in records)
    whole = tuple(
        (len(r["response"]), int(r["tokens"]))
        for r in records
        if r["response"].strip() and r["finish_reason"] == "stop"
    )
    return StoredAnswers(tokens, whole) if records else None


def _read_translations(path: Path) -> StoredTranslations | None:
    sent = [r for r in _records(path) if r["error"] not in _NOT_SENT]
    good = [r for r in sent if r["translation"] is not None]
    if not good:
        return None
    ratios = tuple(len(r["translation"]) / max(1, len(r["source"])) for r in good)
    cut = sum(r["error"] == TranslationError.TRUNCATED for r in sent)
    return StoredTranslations(ratios, cut / len(sent), len(good) / len(sent))


def _read_kept(path: Path) -> float | None:
    audit = json.loads(path.read_text(encoding="utf-8"))
    return audit["kept"] / audit["candidates"] if audit["candidates"] else None
