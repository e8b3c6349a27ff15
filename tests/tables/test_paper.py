"""The paper's numbers and its misprints."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from lidr.errors import LidrError
from lidr.tables.paper import MISPRINTS, Place, misprint, paper_values
from lidr.tables.spec import read_table, table_names

PRINTED = json.loads(files("lidr.tables").joinpath("paper_tables.json").read_text(encoding="utf-8"))


def test_the_three_layouts() -> None:
    mgsm = paper_values("lidr_mgsm_acc_offtag", ("accuracy", "off_target"))
    assert mgsm[Place("M0", "zh", "off_target")] == 0.336
    assert mgsm[Place("Multilingual Alignment (SFT)", "bn", "accuracy")] == 0.308
    raw = paper_values("lidr_x_alpacaeval_raw_winrate", ("win_rate",), 0.01)
    assert raw[Place("M2", "avg", "win_rate")] == pytest.approx(0.2218)
    head = paper_values("lidr_head_to_head_win_tie_lose", ("win", "tie", "lose"), 0.01)
    assert head[Place("M2vM0", "ru", "lose")] == pytest.approx(0.13)
    tasks = paper_values("lidr_nlp_tasks", ("accuracy",))
    assert tasks[Place("M1", "m_arc", "accuracy")] == 0.4312
    pairs = paper_values("icr_x_alpacaeval_lc_wr", ("lc_win_rate", "win_rate"), 0.01)
    assert pairs[Place("ICR it2", "avg", "win_rate")] == pytest.approx(0.2643)


def test_a_table_that_is_not_there_and_a_wrong_count_are_named() -> None:
    with pytest.raises(LidrError, match="lidr_mt_bench"):
        paper_values("lidr_mtbench", ("rating",))
    with pytest.raises(LidrError, match="2 numbers, not 1"):
        paper_values("lidr_mgsm_acc_offtag", ("accuracy",))


def test_the_impossible_numbers_of_mgsm_are_just_the_known_misprints() -> None:
    """250 items: a share times 250 is whole."""
    mgsm = paper_values("lidr_mgsm_acc_offtag", ("accuracy", "off_target"))
    broken = {p for p, value in mgsm.items() if abs(value * 250 - round(value * 250)) > 1e-6}
    assert broken == {Place("M2", "de", "accuracy"), Place("M2", "sw", "off_target")}
    assert all(misprint("lidr_mgsm_acc_offtag", place) for place in broken)


def test_printed_standard_errors_are_marked_where_they_cannot_be() -> None:
    """Of a share p over about 800 questions it is at most 0.5 / sqrt(800)."""
    columns = PRINTED["lidr_nlp_tasks"]["cols"]
    for row, errors in PRINTED["lidr_nlp_tasks"]["stderr"].items():
        for column, error in zip(columns, errors, strict=True):
            marked = misprint("lidr_nlp_tasks", Place(row, column, "accuracy")) is not None
            assert marked == (error > 0.5 / 800**0.5)


def test_every_misprint_is_a_number_that_is_printed() -> None:
    for known in MISPRINTS:
        rows = [known.row] if known.row else ["M0", "M1", "M2"]
        spec = next(s for s in map(read_table, table_names()) if s.paper and s.paper.table == known.table)
        assert spec.paper is not None
        printed = paper_values(known.table, spec.paper.values, spec.paper.scale)
        assert all(Place(row, known.column, known.value) in printed for row in rows)
