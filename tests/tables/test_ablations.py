"""The script behind docs/ablations.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments import ablations
from lidr.tables import read_table

PAGE = Path(__file__).parents[2] / "docs" / "ablations.md"


def test_every_reference_is_a_row_and_every_table_has_its_place_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, label in ablations.REFERENCES.items():
        rows = [row for row in read_table(name).rows if ablations._label(row) == label]
        assert len(rows) == 1
        assert ablations._MARKS[0].format(name=name) in page


def test_a_change_is_paired_by_seed_and_problem() -> None:
    own = {0: {"a": 1.0, "b": 0.5}, 1: {"a": 1.0, "b": 1.0}, 2: {"a": 0.0, "b": 0.0}}
    other = {0: {"a": 0.5, "b": 0.0}, 1: {"a": 0.5, "b": 0.5}}
    found = ablations._change(own, other)
    assert found is not None
    assert found.estimate.value == pytest.approx(0.5)
    assert (found.estimate.n, found.lowest, found.highest) == (2, 0.5, 0.5)
    assert ablations._change(own, {}) is None


def test_a_table_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begin, end = (mark.format(name="nll_weight") for mark in ablations._MARKS)
    page.write_text(f"before\n{begin}old\n{end}after\n", encoding="utf-8")
    ablations._write(page, "nll_weight", ["| new |"])
    assert page.read_text(encoding="utf-8") == f"before\n{begin}| new |\n{end}after\n"
    with pytest.raises(SystemExit, match="has no line"):
        ablations._write(page, "iterations", [])


def test_the_pages_intervals_hold_their_values() -> None:
    cells = re.findall(r"([+-]?[\d.]+) \[([+-]?[\d.]+), ([+-]?[\d.]+)\]", PAGE.read_text(encoding="utf-8"))
    assert len(cells) > 60
    assert all(float(low) <= float(value) <= float(high) for value, low, high in cells)
