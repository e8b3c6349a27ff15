"""The parts of runs that a page samples from, streamed from their files: whole records, whatever a kill left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from lidr import jsonl
from lidr.config import EnRejected, PairType
from lidr.evaluation.outcomes import FILE as OUTCOMES
from lidr.evaluation.outcomes import Outcome
from lidr.records import Pair, Prompt, Response, Score, Translation
from lidr.report.page.bundle import Bundle
from lidr.report.runs import Run
from lidr.synthesis.read import Route, file_name, routes_for, sample_file, samples

_NOT_MEASURES = ("id", "language")
Put = tuple[str, Callable[[Bundle], None]]
Wants = Callable[[str], bool]


class Kind(StrEnum):
    """What a record of the page is."""

    PAIR = "pair"
    ANSWER = "answer"
    TRANSLATION = "translation"
    BENCHMARK = "benchmark"


@dataclass(frozen=True)
class Need:
    """What it would take to show all of a unit: records, and bytes of its files."""

    records: int
    size: int


@dataclass
class LoopUnit:
    """What an iteration of the loop wrote: prompts, answers, translations and pairs."""

    run: Run
    iteration: int
    totals: Counter[Kind] = field(default_factory=Counter)

    @property
    def pairs_path(self) -> Path:
        return self._folder / "pairs" / "pairs.jsonl"

    @property
    def candidates(self) -> Mapping[str, int]:
        """Pair candidates for each language's answer; none before pairs were made."""
        if not self.pairs_path.exists():
            return {}
        pairs, languages = self.run.config.pairs, self.run.config.languages
        weaker = languages.non_dominant if PairType.NL in pairs.types else ()
        several = len(languages.non_dominant) if pairs.en_rejected is EnRejected.ALL else 1
        return dict.fromkeys(weaker, 1) | {languages.dominant: several if PairType.EN in pairs.types else 0}

    def need(self) -> Need:
        answered = [p for name in ("responses", "translations") for p in self._files(name)]
        files = [*self._files("prompts"), *answered, *self._files("scores"), *_parts(self.pairs_path)]
        records = sum(map(jsonl.whole_lines, answered)) + self._candidates_in_all()
        return Need(records, sum(path.stat().st_size for path in files))

    def stream(self, wants: Wants = lambda _: True) -> Iterator[Put]:
        """Every record of a wanted prompt with its id. The pairs' total counts the dropped candidates as well."""
        t = self.iteration - 1
        for path in self._files("prompts"):
            for r in _records(path, wants):
                prompt = Prompt(
                    _text(r, "id"), _text(r, "language"), _text(r, "prompt"), _text_or_none(r, "answer")
                )
                yield prompt.id, lambda b, prompt=prompt: b.put_prompt(prompt)  # type: ignore[misc]
        for path in self._files("responses"):
            yield from _responses(path, t, Kind.ANSWER, self.totals, wants)
        for way in self._routes:
            for path in _parts(self._folder / "translations" / file_name(way)):
                for r in _records(path, wants, self.totals, Kind.TRANSLATION):
                    x = _translation(r)
                    yield x.id, lambda b, way=way, x=x: b.put_translation(way, x)  # type: ignore[misc]
        for path in self._files("scores"):
            for r in _records(path, wants):
                s = _score(r)
                yield s.id, lambda b, s=s: b.put_score(s)  # type: ignore[misc]
        for r in (r for path in _parts(self.pairs_path) for r in _records(path, wants)):
            pair = _pair(r)
            yield pair.id, lambda b, pair=pair: b.put_pair(pair)  # type: ignore[misc]
        self.totals[Kind.PAIR] = self._candidates_in_all()

    def _candidates_in_all(self) -> int:
        kept = sum(map(jsonl.whole_lines, _parts(self.pairs_path)))
        return max(kept, int(self.run.audits.get(self.iteration, {}).get("candidates", 0)))

    @property
    def _folder(self) -> Path:
        return self.run.root / f"iteration-{self.iteration}"

    @property
    def _routes(self) -> list[Route]:
        return routes_for(self.run.config.languages, self.run.config.pairs)

    def _files(self, stage: str) -> list[Path]:
        config = self.run.config
        names = [f"{code}.jsonl" for code in config.languages.trained]
        if stage == "translations":
            names = [file_name(route) for route in self._routes]
        elif stage == "scores":
            names = [sample_file(*each) for each in samples(config.languages, config.pairs)]
        return [part for name in names for part in _parts(self._folder / stage / name)]


@dataclass
class BenchmarkUnit:
    """The answers of every M_t to one benchmark."""

    run: Run
    benchmark: str
    totals: Counter[Kind] = field(default_factory=Counter)

    @property
    def candidates(self) -> Mapping[str, int]:
        return {}

    def need(self) -> Need:
        files = [path for t in self._iterations for path in self._files(t)]
        return Need(sum(map(jsonl.whole_lines, files)), sum(path.stat().st_size for path in files))

    def stream(self, wants: Wants = lambda _: True) -> Iterator[Put]:
        for t in self._iterations:
            for path in self._files(t):
                yield from _responses(path, t, Kind.BENCHMARK, self.totals, wants)
            for r in (r for path in _parts(self._folder(t) / OUTCOMES) for r in _records(path, wants)):
                values = {k: float(v) for k, v in r.items() if k not in _NOT_MEASURES}
                outcome = Outcome(_text(r, "id"), _text(r, "language"), values)
                yield outcome.id, lambda b, t=t, x=outcome: b.put_outcome(t, x)  # type: ignore[misc]

    @property
    def _iterations(self) -> range:
        return range(self.run.config.iterations + 1)

    def _folder(self, iteration: int) -> Path:
        return self.run.root / f"iteration-{iteration}" / "evaluation" / self.benchmark

    def _files(self, iteration: int) -> list[Path]:
        codes = self.run.config.evaluation[self.benchmark].codes(self.run.config.languages)
        return [part for code in codes for part in _parts(self._folder(iteration) / f"{code}.jsonl")]


def units(run: Run) -> list[LoopUnit | BenchmarkUnit]:
    """Everything of a run that is sampled by itself."""
    loops = [LoopUnit(run, t) for t in range(1, run.config.iterations + 1)]
    return [*loops, *(BenchmarkUnit(run, name) for name in run.config.evaluation)]


def _parts(path: Path) -> list[Path]:
    """A file of a stage, and what processes that share the stage have written of it so far."""
    shards = sorted((path.parent / "shards").glob(f"*-of-*/{path.name}"))
    return [part for part in (path, *shards) if part.exists()]


def _records(
    path: Path, wants: Wants, totals: Counter[Kind] | None = None, kind: Kind = Kind.ANSWER
) -> Iterator[dict[str, Any]]:
    """Of the wanted prompts; `totals` counts those of all."""
    for line in jsonl.lines_of(path, wants):
        if totals is not None:
            totals[kind] += 1
        if line is not None:
            yield line.record


def _responses(path: Path, iteration: int, kind: Kind, totals: Counter[Kind], wants: Wants) -> Iterator[Put]:
    for r in _records(path, wants, totals, kind):
        response = _response(r)
        yield response.id, lambda b, response=response: b.put_response(iteration, response)  # type: ignore[misc]


def _response(record: Mapping[str, Any]) -> Response:
    return Response(
        id=_text(record, "id"),
        language=_text(record, "language"),
        prompt=_text(record, "prompt"),
        response=_text(record, "response"),
        finish_reason=_text(record, "finish_reason"),
        tokens=0,  # not shown
    )


def _translation(record: Mapping[str, Any]) -> Translation:
    return Translation(
        id=_text(record, "id"),
        source_language=_text(record, "source_language"),
        target_language=_text(record, "target_language"),
        source=_text(record, "source"),
        translation=_text_or_none(record, "translation"),
        error=_text_or_none(record, "error"),
    )


def _score(record: Mapping[str, Any]) -> Score:
    score, sample = record.get("score"), record.get("sample")
    return Score(
        id=_text(record, "id"),
        language=_text(record, "language"),
        sample=sample if isinstance(sample, int) else 0,
        source=_text(record, "source"),
        score=float(score) if isinstance(score, int | float) and jsonl.is_number(score) else None,
        tokens=0,  # not shown
        error=_text_or_none(record, "error"),
    )


def _pair(record: Mapping[str, Any]) -> Pair:
    names = ("id", "language", "prompt", "chosen", "rejected", "chosen_origin", "rejected_origin")
    return Pair(*(_text(record, key) for key in names))


def _text(record: Mapping[str, Any], key: str) -> str:
    return _text_or_none(record, key) or ""


def _text_or_none(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    return None if value is None else str(value)
