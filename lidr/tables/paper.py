"""The numbers as the papers print them, by row, column and value; and which of them cannot be right.

``paper_tables.json`` holds three layouts: a list of columns with a row a model, a list of rows with an entry a
language, and an entry a language with an entry a comparison.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from lidr.errors import LidrError, did_you_mean

FILE = "paper_tables.json"
_COLUMNS = ("langs", "cols")
_ROWS = "order"


class Place(NamedTuple):
    """Where a number stands: its row, its column, and which of the numbers there (accuracy, win, ...)."""

    row: str
    column: str
    value: str


@dataclass(frozen=True)
class Misprint:
    """A printed number that cannot be right, or whose printed standard error cannot.

    row: None for every row of the column.
    """

    table: str
    row: str | None
    column: str
    value: str
    why: str

    def concerns(self, table: str, place: Place) -> bool:
        """Whether it is the number at a place of a table."""
        return (
            self.table == table
            and self.row in (None, place.row)
            and (self.column, self.value) == (place.column, place.value)
        )


_STDERR = "the standard errors printed beside them (0.071 and above) are 4 to 6 times what the harness gives"
MISPRINTS = (
    Misprint(
        "lidr_mgsm_acc_offtag",
        "M2",
        "de",
        "accuracy",
        "0.570 is no share of 250 items: 142 give 0.568, 143 give 0.572",
    ),
    Misprint(
        "lidr_mgsm_acc_offtag",
        "M2",
        "sw",
        "off_target",
        "0.002 is no share of 250 items: none gives 0.000, one gives 0.004",
    ),
    Misprint("lidr_nlp_tasks", None, "truthfulqa_mc1", "accuracy", _STDERR),
    Misprint("lidr_nlp_tasks", None, "truthfulqa_mc2", "accuracy", _STDERR),
)


def misprint(table: str, place: Place) -> str | None:
    """What is wrong with a printed number, in words; None where nothing is known to be."""
    return next((m.why for m in MISPRINTS if m.concerns(table, place)), None)


def paper_values(table: str, values: Sequence[str], scale: float = 1.0) -> dict[Place, float]:
    """Every number of a printed table.

    Args:
        table: its key in ``paper_tables.json``.
        values: names of the numbers of a cell, in the order in which they are printed.
        scale: what a printed number is multiplied by: 0.01 makes shares of per cent.

    Raises:
        LidrError: there is no such table, or its cells hold another count of numbers.
    """
    printed = _printed()
    if table not in printed:
        raise LidrError("no table of the paper", where=table, instead=did_you_mean(table, printed))
    found: dict[Place, float] = {}
    for row, column, cell in _cells(printed[table]):
        numbers = cell if isinstance(cell, list) else [cell]
        if len(numbers) != len(values):
            raise LidrError(f"{row}, {column}: {len(numbers)} numbers, not {len(values)}", where=table)
        for name, number in zip(values, numbers, strict=True):
            found[Place(row, column, name)] = float(number) * scale
    return found


@cache
def _printed() -> Mapping[str, Mapping[str, Any]]:
    text = files("lidr.tables").joinpath(FILE).read_text(encoding="utf-8")
    return {key: value for key, value in json.loads(text).items() if not key.startswith("_")}


def _cells(table: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Row, column and content of every cell of any of the layouts."""
    columns: Sequence[str] = next((table[key] for key in _COLUMNS if key in table), ())
    for key, entry in table.items():
        if key in (*_COLUMNS, _ROWS):
            continue
        if columns and isinstance(entry, list):
            yield from ((key, column, cell) for column, cell in zip(columns, entry, strict=True))
        elif _ROWS in table:
            yield from ((row, key, cell) for row, cell in zip(table[_ROWS], entry, strict=True))
        elif not columns and isinstance(entry, dict):
            yield from ((row, key, cell) for row, cell in entry.items())
