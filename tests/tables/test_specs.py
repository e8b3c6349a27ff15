"""The specs: every number of the paper is found, every experiment exists, every row is its own."""

from __future__ import annotations

import pytest

from lidr.compose import config_folder
from lidr.errors import LidrError
from lidr.report.metrics import style
from lidr.tables.editions import Scale, Source, shown
from lidr.tables.frame import columns
from lidr.tables.headers import read_header
from lidr.tables.paper import Place, paper_values
from lidr.tables.spec import TableSpec, read_table, table_names

TABLES = table_names()
OF_THE_PAPER = (
    "x_alpacaeval", "head_to_head", "mt_bench", "alignment_tax", "mgsm", "scores_0_10", "reward_accuracy",
)  # fmt: skip


@pytest.fixture(params=TABLES)
def spec(request: pytest.FixtureRequest) -> TableSpec:
    return read_table(request.param)


def test_the_papers_tables_come_first_and_the_reviewers_in_order() -> None:
    assert len(TABLES) == 27
    reviewers = [name for name in TABLES if name[0] == "e" and name[1].isdigit()]
    assert list(TABLES[-len(reviewers) :]) == reviewers
    assert [name.partition("_")[0] for name in reviewers] == [
        "e1", "e2", "e3", "e4", "e4", "e5", "e6", "e7", "e8", "e9", "e10", "e11", "e12", "e12",
    ]  # fmt: skip
    assert set(OF_THE_PAPER) <= set(TABLES)


def test_every_cell_of_a_printed_row_has_its_number(spec: TableSpec) -> None:
    if spec.paper is None:
        assert not any(row.paper for row in spec.rows)
        return
    printed = paper_values(spec.paper.table, spec.paper.values, spec.paper.scale)
    for row in (row for row in spec.rows if row.paper):
        for column in spec.columns:
            for metric in spec.metrics:
                assert Place(row.paper or "", column.paper or "", metric.name) in printed


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_no_number_of_the_papers_tables_is_left_out(name: str) -> None:
    spec = read_table(name)
    assert spec.paper is not None
    printed = set(paper_values(spec.paper.table, spec.paper.values, spec.paper.scale))
    shown_ = {
        Place(row.paper, column.paper, metric.name)
        for row in spec.rows
        for column in spec.columns
        for metric in spec.metrics
        if row.paper and column.paper
    }
    assert {place for place in printed if place.row != "stderr"} == shown_


def test_shares_are_shares_and_ratings_ratings(spec: TableSpec) -> None:
    if spec.paper:
        for place, value in paper_values(spec.paper.table, spec.paper.values, spec.paper.scale).items():
            assert 0 <= value <= (10 if place.value == "rating" else 1)


def test_labels_are_unique_and_experiments_exist(spec: TableSpec) -> None:
    for labels in ([row.label for row in spec.rows], [column.label for column in spec.columns]):
        assert len(set(labels)) == len(labels)
    for experiment in spec.experiments:
        assert (config_folder("experiments") / "experiment" / f"{experiment}.yaml").is_file()


def test_the_headers_of_its_experiments_name_the_table(spec: TableSpec) -> None:
    for experiment in spec.experiments:
        assert spec.name in read_header(experiment).table.replace(",", " ").split()


def test_every_block_has_a_style_and_a_number_in_the_lab(spec: TableSpec) -> None:
    for metric in spec.metrics:
        for scale in Scale:
            assert style(shown(metric, scale)).title != shown(metric, scale)
    if spec.experiments:
        for metric in spec.metrics:
            labels = metric.rows or [row.label for row in spec.rows if row.experiment]
            rows = [row for row in spec.rows if row.label in labels]
            assert len(rows) == len(labels)
            assert all(Source.of(row, metric, scale) for row in rows for scale in Scale)


def test_a_metric_may_have_columns_of_its_own() -> None:
    from lidr.tables.editions import Edition

    spec = read_table("e10_iterations")
    gap, accuracy = spec.metrics
    for scale in Scale:
        edition = Edition(spec, scale, ())
        assert [c.label for c in columns(edition, gap)] == ["gap"]
        assert len(columns(edition, accuracy)) > 5


def test_a_table_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(LidrError, match="'mgsm'"):
        read_table("mgms")
