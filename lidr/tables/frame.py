"""The one tidy frame behind a table in all its forms: a row a number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from lidr.config.judge_schema import AGREEMENT
from lidr.languages import NAMES
from lidr.report.runs import Run
from lidr.tables.calibrations import calibrated
from lidr.tables.editions import CALIBRATION, TRAINING, Edition, Scale, Source, shown
from lidr.tables.headers import read_header
from lidr.tables.measure import Measured, Wanted, measure
from lidr.tables.paper import Place, misprint, paper_values
from lidr.tables.spec import Column, Metric, Row, TableSpec

COLUMNS = (
    "table", "metric", "row", "column", "paper", "ours", "low", "high", "floor", "n", "difference", "note",
    "command",
)  # fmt: skip
PAPER_ONLY = "the paper's alone"
MISPRINT = "misprint: "
LAB = "synthetic lab world: not to be compared with the paper"
_NUMBERS = ("paper", "ours", "low", "high", "floor", "difference")


def tidy(edition: Edition) -> pd.DataFrame:
    """Every cell of a table.

    metric: what is shown; where the lab measures another quantity than the paper, the paper's is left out.
    paper, ours, low, high, difference: shares are 0 to 1, ratings 0 to 10; low and high bound ours at 95 %.
    difference: ours minus the paper's; empty in the lab edition, whose numbers are of another world.
    floor: least difference between two numbers as sure as ours that is more than noise, at 95 %: half the
    interval's width times the root of 2, as if the two were independent.
    n: problems behind ours. note: misprints, seeds, judges. command: fills a cell that is missing.

    Raises:
        LidrError: runs that differ in more than their seed could stand in one row.
    """
    rows = list(_rows(edition))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype(dict.fromkeys(_NUMBERS, float) | {"n": "Int64"})


def columns(edition: Edition, metric: Metric) -> tuple[Column, ...]:
    """The columns of a block."""
    if metric.columns is not None:
        return metric.columns
    return edition.table.columns if edition.scale is Scale.PAPER else edition.table.lab_columns


def _rows(edition: Edition) -> Iterator[tuple[Any, ...]]:
    table = edition.table
    printed = _printed(table)
    for metric in table.metrics:
        for row in table.rows:
            source = Source.of(row, metric, edition.scale)
            if not _is_shown(edition, row, source):
                continue
            runs = edition.group(row)
            for column in columns(edition, metric):
                yield _cell(edition, metric, row, column, source, runs, printed)


def _is_shown(edition: Edition, row: Row, source: Source | None) -> bool:
    """Whether a block has the row: M_0 has no training, and the lab no row of the paper alone."""
    if row.experiment is None:
        return edition.scale is Scale.PAPER
    return source is not None and not (source.benchmark == TRAINING and row.iteration == 0)


def _cell(
    edition: Edition,
    metric: Metric,
    row: Row,
    column: Column,
    source: Source | None,
    runs: list[Run],
    printed: Mapping[Place, float],
) -> tuple[Any, ...]:
    name = shown(metric, edition.scale)
    place = _place(edition.table, row, column, metric) if name == metric.name else None
    paper = printed.get(place) if place else None
    found = _measured(edition, row, column, source, runs)
    ours = (found.value, found.low, found.high, _floor(found), found.n) if found else (None,) * 5
    comparable = found is not None and paper is not None and edition.scale is Scale.PAPER
    difference = found.value - paper if comparable and found and paper is not None else None
    wrong = misprint(edition.table.paper.table, place) if edition.table.paper and place else None
    judge = source.judged_by(edition.judge).judge if source else None
    notes = [MISPRINT + wrong if wrong and paper is not None else "", *_notes(edition, row, found, judge)]
    missing = found is None and row.experiment is not None and source is not None and _can_be(column, runs)
    return (
        edition.table.name, name, row.label, column.label, paper, *ours, difference,
        "; ".join(filter(None, notes)), command(row, edition.scale, source) if missing else "",
    )  # fmt: skip


def _floor(found: Measured) -> float | None:
    if found.low is None or found.high is None:
        return None
    return (found.high - found.low) / math.sqrt(2)


def _printed(table: TableSpec) -> Mapping[Place, float]:
    paper = table.paper
    return paper_values(paper.table, paper.values, paper.scale) if paper else {}


def _place(table: TableSpec, row: Row, column: Column, metric: Metric) -> Place | None:
    """Where the paper prints a cell; the lab's columns are the paper's of the same label."""
    same = next((c for c in table.columns if c.label == column.label), column)
    return Place(row.paper, same.paper, metric.name) if row.paper and same.paper else None


def _measured(
    edition: Edition, row: Row, column: Column, source: Source | None, runs: list[Run]
) -> Measured | None:
    if source is None or row.experiment is None:
        return None
    named = Source(column.benchmark or source.benchmark, column.metric or source.metric, source.judge)
    chosen = named.judged_by(edition.judge)
    if chosen.benchmark == CALIBRATION:
        return calibrated(edition.scales, chosen, column.languages)
    return measure(runs, Wanted(chosen, column.languages, row.iteration, row.against))


def _can_be(column: Column, runs: list[Run]) -> bool:
    """Whether the row's experiment has the column's languages; where it was never run, that is not looked up."""
    known = {code for run in runs for code in run.config.languages.all}
    return not runs or not set(column.languages) & set(NAMES) or set(column.languages) <= known


def _notes(edition: Edition, row: Row, found: Measured | None, judge: str | None) -> Iterator[str]:
    if row.experiment is None:
        yield PAPER_ONLY
    elif found is not None:
        yield found.note
        yield f"judge {judge}" if judge and judge != AGREEMENT else ""
        yield LAB if edition.scale is Scale.LAB else ""
    elif edition.table.needs and edition.scale is Scale.PAPER:
        yield f"needs {edition.table.needs}"


def command(row: Row, scale: Scale, source: Source | None) -> str:
    """What to type to fill a row: the run, then the judge's call where a judge says the number."""
    header, paper = read_header(row.experiment or ""), scale is Scale.PAPER
    judge = (header.judge if paper else header.lab_judge) if source and source.judge and header.runs else ""
    return " && ".join(filter(None, (header.command if paper else header.lab, judge)))
