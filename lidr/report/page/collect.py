"""The sample of records that a page embeds, and how much of the runs it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lidr.report.page.bundle import Bundle
from lidr.report.page.judging import Judge
from lidr.report.page.records import Record, Table
from lidr.report.page.selection import Limits, Selection, shares
from lidr.report.page.units import BenchmarkUnit, Kind, LoopUnit, units
from lidr.report.runs import Run

_NAMES = {
    Kind.PAIR: "pair candidates",
    Kind.ANSWER: "answers",
    Kind.TRANSLATION: "translations",
    Kind.BENCHMARK: "benchmark answers",
}


@dataclass(frozen=True)
class Coverage:
    """How many records of each kind the page shows, of how many there are.

    is_full: some prompts found no room. cut: texts that are shown in part.
    """

    shown: Counter[Kind]
    there: Counter[Kind]
    is_full: bool
    cut: int
    limits: Limits

    @property
    def is_whole(self) -> bool:
        return all(self.shown[kind] >= self.there[kind] for kind in Kind)

    def sentence(self) -> str:
        """What the page says of it."""
        shown, there = sum(self.shown.values()), sum(self.there.values())
        if not there:
            return "There are no answers yet."
        if self.is_whole:
            text = f"This page holds all {there:,} records there are."
        else:
            parts = [
                f"{self.shown[kind]:,} of {self.there[kind]:,} {_NAMES[kind]}"
                for kind in Kind
                if self.there[kind]
            ]
            text = f"This page holds {shown:,} of {there:,} records: {', '.join(parts)}. {self._why()}"
        if self.cut:
            be = "text is" if self.cut == 1 else "texts are"
            text += f" {self.cut:,} {be} longer than {self.limits.text:,} characters and cut there."
        return text

    def _why(self) -> str:
        if not self.is_full:
            return "The others lack the answers or translations that they were made of."
        return (
            f"At most {self.limits.records:,} records and {self.limits.size / 1e6:g} MB of text are put on a page. "
            "Which prompts are shown is drawn by a hash of their ids, each with all its records; the files in the "
            "run's folder hold the rest."
        )


@dataclass(frozen=True)
class Collected:
    """What the page's script reads, and what the page says about it."""

    payload: dict[str, Any]
    coverage: Coverage


def collect(runs: Sequence[Run], limits: Limits) -> Collected:
    """Samples the runs' records within the limits; the room is shared evenly by the iterations and benchmarks.

    Raises:
        LidrError: a line of a run's file is not readable; names file and line.
    """
    listed = [(place, unit) for place, run in enumerate(runs) for unit in units(run)]
    needs = [unit.need() for _, unit in listed]
    records = shares([need.records for need in needs], limits.records)
    sizes = shares([need.size for need in needs], limits.size)
    judges = [Judge(run.config, place) for place, run in enumerate(runs)]
    table, shown, there, is_full = Table(limits.text), Counter[Kind](), Counter[Kind](), False
    for (place, unit), most_records, most_size in zip(listed, records, sizes, strict=True):
        selection = select(unit, Limits(most_records, most_size, limits.text))
        for record in judged(unit, selection, judges[place]):
            table.add(record)
            shown[record.kind] += 1
        there += unit.totals
        is_full = is_full or selection.is_full
    coverage = Coverage(shown, there, is_full, table.cut, limits)
    return Collected(table.payload([run.label for run in runs]), coverage)


def select(unit: LoopUnit | BenchmarkUnit, limits: Limits) -> Selection[Bundle]:
    """The prompts of a unit that are shown, each with all that was made of it.

    Raises:
        LidrError: as `collect`.
    """
    selection = Selection(partial(Bundle, limits.text, unit.candidates), limits.records, limits.size)
    for identity, put in unit.stream():
        selection.add(identity, put)
    return selection


def judged(unit: LoopUnit | BenchmarkUnit, selection: Selection[Bundle], judge: Judge) -> Iterator[Record]:
    """The records of the selected prompts, with what became of each."""
    for identity, bundle in selection.kept.items():
        if isinstance(unit, LoopUnit):
            yield from judge.loop_records(identity, bundle, unit.iteration, unit.pairs_path.exists())
        else:
            yield from judge.benchmark_records(bundle, unit.benchmark)
