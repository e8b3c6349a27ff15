"""The frame as the paper lays its tables out: a block a metric, and for each row what is printed and what is ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from lidr.report.grids import Grid
from lidr.report.metrics import MISSING, style, written
from lidr.tables.editions import Edition, Scale, shown
from lidr.tables.frame import LAB, MISPRINT, columns

DAGGER = "†"
OUTSIDE = "*"
_LINES = ("paper", "ours", "difference", "floor", "n")


def blocks(edition: Edition, frame: pd.DataFrame, *, arms: bool = False) -> Iterator[Grid]:
    """A grid a metric.

    Args:
        edition: whose frame it is.
        frame: of `lidr.tables.frame.tidy`.
        arms: intervals as ``±`` their longer arm, for a terminal, instead of ``[low, high]``.
    """
    for metric in edition.table.metrics:
        labels = tuple(column.label for column in columns(edition, metric))
        name = shown(metric, edition.scale)
        mine = frame[frame["metric"] == name]
        if mine.empty:
            continue
        rows = [
            line
            for row in dict.fromkeys(mine["row"])
            for line in _row_lines(edition, mine[mine["row"] == row], str(row), name, arms)
        ]
        unit = f" ({style(name).unit})" if style(name).unit else ""
        yield Grid(
            name=f"{edition.table.name}-{name}",
            title=f"{edition.table.title}: {style(name).title}{unit}",
            header=("", "", *labels),
            rows=tuple(rows),
            note=note(edition, mine, arms),
            source=mine,
        )


def _row_lines(
    edition: Edition, cells: pd.DataFrame, label: str, metric: str, arms: bool
) -> Iterator[tuple[str, ...]]:
    digits = _digits(edition, metric)
    texts: dict[str, list[str]] = {name: [] for name in _LINES}
    for cell in cells.itertuples():
        paper, ours, low, high, change, floor, n = (
            _known(getattr(cell, name))
            for name in ("paper", "ours", "low", "high", "difference", "floor", "n")
        )
        mark = DAGGER if str(cell.note).startswith(MISPRINT) else ""
        texts["paper"].append(written(metric, paper, digits=digits) + mark)
        texts["ours"].append(_interval(metric, ours, low, high, digits, arms))
        outside = paper is not None and low is not None and high is not None and not low <= paper <= high
        mark = OUTSIDE if outside and change is not None else ""
        texts["difference"].append(written(metric, change, signed=True, digits=digits) + mark)
        texts["floor"].append(written(metric, floor, digits=digits))
        texts["n"].append(MISSING if n is None else f"{n:.0f}")
    shown = [name for name in _LINES if any(text != MISSING for text in texts[name])]
    if label in _measurable(edition) and "ours" not in shown:
        shown.insert(len(shown[:1]), "ours")
    for place, name in enumerate(shown):
        yield ("" if place else label, name, *texts[name])


def _measurable(edition: Edition) -> set[str]:
    return {row.label for row in edition.table.rows if row.experiment}


def _digits(edition: Edition, metric: str) -> int:
    own = style(metric).digits
    paper = edition.table.paper
    return max(own, paper.digits) if paper and edition.scale is Scale.PAPER else own


def _interval(
    metric: str, value: float | None, low: float | None, high: float | None, digits: int, arms: bool
) -> str:
    if not arms or value is None or low is None or high is None:
        return written(metric, value, low, high, digits=digits)
    arm = written(metric, max(value - low, high - value), digits=digits)
    return f"{written(metric, value, digits=digits)} ±{arm}"


def _known(value: object) -> float | None:
    return None if pd.isna(value) else float(value)  # type: ignore[arg-type, call-overload]


def note(edition: Edition, cells: pd.DataFrame, arms: bool = False) -> str:
    """What stands below a block: how to read it, and what is wrong with the paper's numbers."""
    words = []
    if cells["low"].notna().any():
        words.append("±: the longer arm of the 95 % interval" if arms else "In brackets the 95 % interval")
        words.append("floor: least difference between two such numbers that is more than noise")
    if edition.scale is Scale.LAB:
        words.append(LAB)
    if _outside(cells).any():
        words.append(f"{OUTSIDE} the paper's number lies outside the interval of ours")
    words += [*_remarks(cells), *(f"{DAGGER} {text}" for text in misprints(cells))]
    return "".join(f"{word[:1].upper()}{word[1:]}. " for word in words).rstrip()


def _remarks(cells: pd.DataFrame) -> Iterator[str]:
    """What is said of single numbers of ours, such as the judge or the seeds, and of which rows."""
    measured = cells[cells["ours"].notna()]
    rows: dict[str, dict[str, None]] = {}
    for cell in measured.itertuples():
        for remark in str(cell.note).split("; "):
            if remark and remark != LAB and not remark.startswith(MISPRINT):
                rows.setdefault(remark, {})[str(cell.row)] = None
    for remark, labels in rows.items():
        of_all = len(labels) == measured["row"].nunique()
        yield remark if of_all else f"{', '.join(labels)}: {remark}"


def _outside(cells: pd.DataFrame) -> pd.Series:
    beyond = (cells["paper"] < cells["low"]) | (cells["paper"] > cells["high"])
    return beyond & cells["difference"].notna()


def misprints(frame: pd.DataFrame) -> list[str]:
    """The misprints of a frame, each with its place; one that concerns several rows is named once."""
    found: dict[str, list[str]] = {}
    for cell in frame[frame["note"].str.startswith(MISPRINT)].itertuples():
        why = str(cell.note).removeprefix(MISPRINT).partition("; ")[0]
        found.setdefault(why, []).append(f"{cell.row} {cell.column}")
    return [f"{', '.join(dict.fromkeys(places))}: {why}" for why, places in found.items()]


def missing(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Rows that have a missing cell, and the command that fills it; rows of one command together."""
    open_cells = frame[frame["command"] != ""]
    rows: dict[str, list[str]] = {}
    for row, command in zip(open_cells["row"], open_cells["command"], strict=True):
        rows.setdefault(str(command), []).append(str(row))
    return [(", ".join(dict.fromkeys(labels)), command) for command, labels in rows.items()]


def missing_grid(name: str, commands: Sequence[tuple[str, str]], needs: str | None) -> Grid:
    """What to type for the cells that are a dash."""
    return Grid(
        name=f"{name}-missing",
        title="Missing cells",
        header=("rows", "command"),
        rows=tuple(commands),
        note=f"They also need {needs}." if needs else "",
    )
