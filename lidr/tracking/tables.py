"""Samples of what models wrote, as tables to filter: the same prompts in every run on them, texts inert and cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lidr.printable import inert
from lidr.report.page.collect import judged, select
from lidr.report.page.judging import Judge
from lidr.report.page.records import NOTHING, Record, Side
from lidr.report.page.selection import Limits
from lidr.report.page.units import BenchmarkUnit, Kind, LoopUnit
from lidr.report.runs import Run, read_runs
from lidr.synthesis.read import routes_for
from lidr.tracking.keys import TableRows

TEXT, SIZE = 2_000, 2_000_000  # characters of a text; bytes of the texts of an iteration or benchmark
Columns = Mapping[str, tuple[type, Callable[[Record], Any]]]


def loop_tables(root: Path, iteration: int) -> dict[str, TableRows]:
    """Pairs, answers and translations of the iterations up to one, by key.

    Raises:
        LidrError: a file of the run is not readable.
    """
    (run,) = read_runs([root])
    records = [r for t in range(1, iteration + 1) for r in _of_loop(run, t)]
    return {key: _table(COLUMNS[key], kind, records) for key, kind in _LOOP.items()}


def benchmark_tables(root: Path, iteration: int) -> dict[str, TableRows]:
    """Answers of the models up to M_t to the problems of benchmarks, by key; raises as `loop_tables`."""
    (run,) = read_runs([root])
    records = [r for name in run.config.asked_benchmarks for r in _of_benchmark(run, name, iteration)]
    return {BENCHMARK: _table(COLUMNS[BENCHMARK], Kind.BENCHMARK, records)} if records else {}


def _of_loop(run: Run, iteration: int) -> Iterator[Record]:
    languages, unit = run.config.languages, LoopUnit(run, iteration)
    pairs = sum(unit.candidates.values())
    made = len(languages.trained) + len(routes_for(languages, run.config.pairs)) + pairs
    yield from _records(run, unit, _prompts(run, pairs) * made)


def _of_benchmark(run: Run, benchmark: str, iteration: int) -> Iterator[Record]:
    unit = BenchmarkUnit(run, benchmark)
    codes = run.config.evaluation[benchmark].codes(run.config.languages)
    prompts = _prompts(run, len(run.config.languages.trained))
    yield from _records(run, unit, prompts * len(codes) * (iteration + 1))


def _prompts(run: Run, pairs: int) -> int:
    """The prompts that hold as many pair candidates as are wanted, rounded up."""
    return -(-run.config.tracking.sample_pairs // max(1, pairs))


def _records(run: Run, unit: LoopUnit | BenchmarkUnit, most: int) -> Iterator[Record]:
    yield from judged(unit, select(unit, Limits(most, SIZE, TEXT)), Judge(run.config, 0))


def _table(columns: Columns, kind: Kind, records: list[Record]) -> TableRows:
    rows = [[read(r) for _, read in columns.values()] for r in records if r.kind is kind]
    return TableRows({name: type_ for name, (type_, _) in columns.items()}, rows)


def _text(value: str | None) -> str | None:
    if value is None:
        return None
    return inert(value) if len(value) <= TEXT else inert(value[: TEXT - 1]) + "…"


def _right(record: Record) -> Side:
    return record.right or Side(None, "", "")


_PLACE: Columns = {
    "iteration": (int, lambda r: r.iteration),
    "model": (int, lambda r: None if r.model == NOTHING else r.model),
    "language": (str, lambda r: r.language),
}
_PROMPT: Columns = {
    "id": (str, lambda r: _text(r.identity)),
    "prompt": (str, lambda r: _text(r.prompt)),
}
_ANSWER: Columns = {
    "answer": (str, lambda r: _text(r.left.text)),
    "answer_target": (str, lambda r: r.left.target),
    "reference": (str, lambda r: _text(r.reference)),
}
PAIRS, ANSWERS, TRANSLATIONS = "samples/pairs", "samples/answers", "samples/translations"
BENCHMARK = "samples/benchmark_answers"
_LOOP = {PAIRS: Kind.PAIR, ANSWERS: Kind.ANSWER, TRANSLATIONS: Kind.TRANSLATION}
COLUMNS: Mapping[str, Columns] = {
    PAIRS: {
        **_PLACE,
        "outcome": (str, lambda r: r.outcome),
        **_PROMPT,
        "chosen": (str, lambda r: _text(r.left.text)),
        "chosen_origin": (str, lambda r: r.left.origin),
        "chosen_target": (str, lambda r: r.left.target),
        "rejected": (str, lambda r: _text(_right(r).text)),
        "rejected_origin": (str, lambda r: _right(r).origin),
        "rejected_target": (str, lambda r: _right(r).target),
    },
    ANSWERS: {**_PLACE, "outcome": (str, lambda r: r.outcome), **_PROMPT, **_ANSWER},
    TRANSLATIONS: {
        **_PLACE,
        "source_language": (str, lambda r: r.left.language),
        "target_language": (str, lambda r: _right(r).language),
        "outcome": (str, lambda r: r.outcome),
        **_PROMPT,
        "source": (str, lambda r: _text(r.left.text)),
        "source_target": (str, lambda r: r.left.target),
        "translation": (str, lambda r: _text(_right(r).text)),
        "translation_target": (str, lambda r: _right(r).target),
    },
    BENCHMARK: {
        "benchmark": (str, lambda r: r.benchmark),
        "model": (int, lambda r: r.model),
        "language": (str, lambda r: r.language),
        "outcome": (str, lambda r: r.outcome),
        **_PROMPT,
        **_ANSWER,
    },
}
