"""Tables from runs with scores written by hand."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd
import pytest

from lidr.errors import LidrError
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from lidr.tables import Scale, build_table, read_table
from lidr.tables.editions import found_in, named, shown
from lidr.tables.frame import COLUMNS, tidy
from lidr.tables.spec import Metric
from tests.tables.make import lab_run, score, scored_run

MGSM = ["experiment=mgsm"]


def mgsm_scores(t: int, shift: float = 0.0) -> list:
    values = {"en": 0.7, "es": 0.5, "ru": 0.5, "de": 0.47}
    return [score("mgsm", code, t, "accuracy", value + 0.1 * t + shift) for code, value in values.items()] + [
        score("mgsm", "sw", t, "off_target", 0.2 - 0.1 * t)
    ]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A finished run of experiment=mgsm, in which de and sw have both metrics only in part."""
    scores = [s for t in range(3) for s in mgsm_scores(t)]
    scored_run(tmp_path / "mgsm" / "a", MGSM, scores)
    return tmp_path


def cell(frame: pd.DataFrame, row: str, column: str, metric: str = "accuracy") -> pd.Series:
    found = frame[(frame["row"] == row) & (frame["column"] == column) & (frame["metric"] == metric)]
    assert len(found) == 1
    return found.iloc[0]


def test_paper_ours_and_difference(outputs: Path) -> None:
    frame = tidy(found_in(read_table("mgsm"), outputs))
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 2 * 4 * 10
    es = cell(frame, "M_1", "es")
    assert (es.paper, es.ours, es.n) == (0.616, pytest.approx(0.6), 250)
    assert (es.low, es.high) == (pytest.approx(0.55), pytest.approx(0.65))
    assert es.difference == pytest.approx(-0.016)
    assert (es.note, es.command) == ("", "")


def test_a_missing_cell_has_the_command_that_fills_it(outputs: Path) -> None:
    frame = tidy(found_in(read_table("mgsm"), outputs))
    sft = cell(frame, "SFT", "es")
    assert pd.isna(sft.ours)
    assert sft.command == "lidr run experiment=mgsm_sft paths.data=<clone of the paper's repository>"
    assert "experiment=mgsm " in cell(frame, "M_0", "zh").command


def test_misprints_are_marked_and_explained(outputs: Path, tmp_path: Path) -> None:
    edition = found_in(read_table("mgsm"), outputs)
    frame = tidy(edition)
    assert "142 give 0.568" in cell(frame, "M_2", "de").note
    assert "none gives 0.000" in cell(frame, "M_2", "sw", "off_target").note
    assert frame["note"].str.startswith("misprint").sum() == 2
    result = build_table(edition, tmp_path / "out")
    page = result.paths.page.read_text(encoding="utf-8")
    assert "57.0†" in page
    assert "0.2†" in page
    assert "† M_2 de: 0.570 is no share of 250 items" in page


def test_the_grid_has_a_line_for_each_of_paper_ours_difference_and_n(outputs: Path, tmp_path: Path) -> None:
    result = build_table(found_in(read_table("mgsm"), outputs), tmp_path / "out")
    accuracy, off_target = result.blocks
    rows = [row[:3] for row in accuracy.rows]
    assert rows[:4] == [
        ("M_0", "paper", "70.0"),
        ("", "ours", "70.0 ±5.0"),
        ("", "difference", "0.0"),
        ("", "floor", "7.1"),
    ]
    assert ("SFT", "paper", "68.0") in rows
    assert next(row for row in accuracy.rows if row[0] == "SFT")[3] == "60.4"
    after_sft = accuracy.rows[[row[0] for row in accuracy.rows].index("SFT") + 1]
    assert after_sft[1:] == ("ours", *["-"] * 10)
    assert accuracy.title == "MGSM: Accuracy (%)"
    assert off_target.title == "MGSM: Off-target rate (%)"
    m_2 = [row[0] for row in accuracy.rows].index("M_2")
    assert accuracy.rows[m_2 + 2][:4] == ("", "difference", "+18.0*", "+6.0*")
    assert "* the paper's number lies outside" in accuracy.note


def test_every_form_is_written_and_the_same_twice(outputs: Path, tmp_path: Path) -> None:
    edition = found_in(read_table("mgsm"), outputs)
    first, second = (build_table(edition, tmp_path / name) for name in ("one", "two"))
    names = {path.name for path in (*first.paths.tables, *first.paths.figures)}
    assert names == {
        "mgsm.csv",
        *(f"mgsm-{m}.{s}" for m in ("accuracy", "off_target", "missing") for s in ("md", "tex", "csv")),
        *(f"mgsm-{m}.{s}" for m in ("accuracy", "off_target") for s in ("png", "pdf")),
    }
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    latex = (tmp_path / "one" / "tables" / "mgsm-accuracy.tex").read_text(encoding="utf-8")
    assert "\\toprule" in latex
    assert "M\\_2" in latex
    frame = pd.read_csv(tmp_path / "one" / "tables" / "mgsm.csv")
    assert list(frame.columns) == list(COLUMNS)
    assert frame["ours"].notna().sum() == 3 * 5
    assert second.paths.page.name == "mgsm.md"


def test_text_of_a_run_breaks_no_form(tmp_path: Path) -> None:
    """The judge's name is a reader's own text."""
    evil = '=HYPERLINK("x")|<b>&$_%'
    scores = [score(f"fidelity@{evil}", "en", 2, "win_rate", 0.3, n=805)]
    scored_run(tmp_path / "run", ["experiment=alpagasus_llama3_8b"], scores)
    edition = named(read_table("x_alpacaeval"), [tmp_path / "run"])
    assert edition.judge == evil
    result = build_table(edition, tmp_path / "out")
    assert cell(result.frame, "M_2", "en", "win_rate").ours == 0.3
    with (tmp_path / "out" / "tables" / "x_alpacaeval.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["note"] for row in rows if row["ours"]} == {f"judge {evil}"}
    assert not any(value.startswith(("=", "+", "@")) for row in rows for value in row.values())
    page = result.paths.page.read_text(encoding="utf-8")
    assert "<b>" not in page
    latex = (tmp_path / "out" / "tables" / "x_alpacaeval-missing.tex").read_text(encoding="utf-8")
    assert "needs" not in re.sub(r"^%.*$", "", latex, flags=re.MULTILINE)
    assert "\\textless{}clone of the paper's repository\\textgreater{}" in latex


_ARC = {"en": 0.5, "es": 0.45, "ru": 0.4, "de": 0.45, "fr": 0.4}


def test_judged_scores_fill_the_judged_tables(tmp_path: Path) -> None:
    scores = [
        *(score("fidelity@gpt4", c, 2, "win_rate", v, n=805) for c, v in (("en", 0.3), ("es", 0.2))),
        score("fidelity vs initial@gpt4", "en", 1, "win", 0.3, n=805),
        score("fidelity vs previous@gpt4", "en", 2, "win", 0.25, n=805),
        score("fidelity@agreement", "en", 2, "alpha", 0.5, n=805),
        score("mt_bench@gpt4", "zh", 0, "rating", 5.5, 0.3, n=80),
        *(score("arc", c, 1, "accuracy", v, n=100) for c, v in _ARC.items()),
        *(score("truthfulqa", c, 1, "mc2", v + 0.1, n=100) for c, v in _ARC.items()),
        score("pairs@gpt4", "en", 1, "reward_accuracy", 0.7, n=500),
    ]
    scored_run(tmp_path / "run", ["experiment=alpagasus_llama3_8b"], scores)

    def of(name: str) -> pd.DataFrame:
        return tidy(named(read_table(name), [tmp_path / "run"]))

    raw = cell(of("x_alpacaeval"), "M_2", "es", "win_rate")
    assert (raw.difference, raw.note) == (pytest.approx(-0.0121), "judge gpt4")
    head = of("head_to_head")
    assert cell(head, "M_1 vs M_0", "en", "win").ours == 0.3
    assert cell(head, "M_2 vs M_1", "en", "win").ours == 0.25
    assert pd.isna(cell(head, "M_2 vs M_0", "en", "win").ours)
    rating = cell(of("mt_bench"), "M_0", "zh", "rating")
    assert (rating.ours, rating.difference, rating.n) == (5.5, pytest.approx(-0.14), 80)
    arc = cell(of("alignment_tax"), "M_1", "m_arc")
    assert (arc.ours, arc.n) == (pytest.approx(0.44), 100)
    assert pd.isna(arc.low)
    assert "mean of 5 languages" in arc.note
    assert cell(of("alignment_tax"), "M_1", "truthfulqa_mc2").ours == pytest.approx(0.54)
    assert cell(of("e1_validity"), "pairs of M_0", "en", "reward_accuracy").ours == 0.7


def test_the_lab_edition_says_what_it_is_and_has_no_difference(tmp_path: Path) -> None:
    lab_run(tmp_path / "run", ["experiment=mgsm", "scale=lab"])
    edition = named(read_table("mgsm"), [tmp_path / "run"])
    result = build_table(edition, tmp_path / "out")
    frame = result.frame
    assert frame["difference"].isna().all()
    assert set(frame["column"]) == {"en", "es", "de", "fr", "ru", "zh", "mean non-dominant"}
    assert cell(frame, "M_0", "es").paper == 0.456
    assert "Synthetic lab world" in result.blocks[0].note
    assert "synthetic lab world" in result.paths.page.read_text(encoding="utf-8")
    assert result.missing == (("SFT", "lidr run experiment=mgsm_sft scale=lab"),)


def test_the_lab_may_show_another_quantity_under_its_own_name() -> None:
    metric = Metric(name="rating", measure="mt_bench@*/rating", lab="lab/accuracy")
    assert (shown(metric, Scale.PAPER), shown(metric, Scale.LAB)) == ("rating", "accuracy")
    assert shown(Metric(name="rating", measure="a@*/b", lab="a@*/b"), Scale.LAB) == "rating"


def test_runs_that_differ_in_their_seed_are_one_row(tmp_path: Path) -> None:
    for seed in (0, 1):
        lab_run(tmp_path / str(seed), ["experiment=mgsm", "scale=lab", f"seed={seed}"])
    frame = tidy(named(read_table("mgsm"), [tmp_path]))
    single = [
        tidy(named(read_table("mgsm"), [tmp_path / str(seed)])).query("metric == 'accuracy'")
        for seed in (0, 1)
    ]
    for column in ("ru", "mean non-dominant"):
        both = cell(frame, "M_1", column)
        each = [cell(one, "M_1", column).ours for one in single]
        assert both.ours == pytest.approx(sum(each) / 2)
        assert both.low < both.ours < both.high
        assert "mean over 2 seeds" in both.note


def test_what_is_said_of_single_numbers_stands_below_the_block(tmp_path: Path) -> None:
    for name, more in (("a", []), ("b", ["seed=1"])):
        scored_run(tmp_path / name, [*MGSM, *more], [score("mgsm", "es", 1, "accuracy", 0.5)])
    scored_run(tmp_path / "c", ["experiment=mgsm_sft"], [score("mgsm", "es", 1, "accuracy", 0.5)])
    block = build_table(named(read_table("mgsm"), [tmp_path]), tmp_path / "out").blocks[0]
    assert "M_1: mean over 2 seeds, 0.5 to 0.5, without an interval." in block.note


def test_seeds_without_stored_answers_have_a_range_and_no_interval(tmp_path: Path) -> None:
    for seed, value in ((0, 0.5), (1, 0.6)):
        scores = [score("mgsm", "es", 1, "accuracy", value)]
        scored_run(tmp_path / str(seed), [*MGSM, f"seed={seed}"], scores)
    es = cell(tidy(named(read_table("mgsm"), [tmp_path])), "M_1", "es")
    assert es.ours == pytest.approx(0.55)
    assert pd.isna(es.low)
    assert "mean over 2 seeds, 0.5 to 0.6" in es.note


def test_a_grids_runs_stand_in_their_rows(tmp_path: Path) -> None:
    for alpha in (0.1, 1):
        overrides = ["experiment=nll_weight", f"objective.alpha={alpha}"]
        scores = [score("mgsm", "es", 2, "accuracy", 0.5 + alpha / 10)]
        scored_run(tmp_path / "nll_weight" / str(alpha), overrides, scores)
    frame = tidy(found_in(read_table("nll_weight"), tmp_path))
    assert cell(frame, "alpha 0.1", "es").ours == pytest.approx(0.51)
    assert cell(frame, "alpha 1", "es").ours == pytest.approx(0.6)
    assert "lidr run -m experiment=nll_weight" in cell(frame, "alpha 0", "es").command


def test_a_language_that_the_run_does_not_have_is_no_missing_cell(tmp_path: Path) -> None:
    scores = [score("mgsm", "ja", 0, "accuracy", 0.3)]
    scored_run(tmp_path / "run", ["experiment=ja_ko_it_th"], scores)
    frame = tidy(named(read_table("languages"), [tmp_path / "run"]))
    assert cell(frame, "ja ko it th: M_0", "bn").command == ""
    assert cell(frame, "ja ko it th: M_0", "th").command != ""


def test_two_runs_for_one_row_are_refused_with_what_tells_them_apart(tmp_path: Path) -> None:
    for beta in (0.1, 0.5):
        scored_run(tmp_path / str(beta), [*MGSM, f"objective.beta={beta}"], mgsm_scores(0))
    with pytest.raises(
        LidrError, match=r"2 runs could stand in row 'M_0'.* objective\.beta .*lidr table mgsm"
    ):
        tidy(named(read_table("mgsm"), [tmp_path]))


def test_one_run_named_twice_is_one_run_and_a_copy_is_refused(tmp_path: Path) -> None:
    scored_run(tmp_path / "mgsm" / "a", MGSM, mgsm_scores(0))
    spec = read_table("mgsm")
    assert len(named(spec, [tmp_path, tmp_path / "mgsm" / "a", tmp_path / "mgsm" / ".." / "mgsm"]).runs) == 1
    scored_run(tmp_path / "copy", MGSM, mgsm_scores(0))
    with pytest.raises(LidrError, match="two runs of seed 0 could stand in row 'M_0'"):
        tidy(named(spec, [tmp_path]))


def test_a_run_of_another_name_stands_for_the_tables_main_experiment(tmp_path: Path) -> None:
    scored_run(tmp_path / "run", [*MGSM, "name=mine"], mgsm_scores(0))
    frame = tidy(named(read_table("mgsm"), [tmp_path / "run"]))
    assert cell(frame, "M_0", "es").ours == 0.5


def test_a_run_without_the_benchmark_says_what_it_has(tmp_path: Path) -> None:
    scored_run(tmp_path / "run", ["experiment=lab"], [score("lab", "en", 0, "joint", 0.9)])
    with pytest.raises(LidrError) as error:
        named(read_table("mgsm"), [tmp_path / "run"], Scale.PAPER)
    assert "no score of lab or mgsm" in str(error.value)
    assert "it has lab" in str(error.value)
    assert "--scale lab" in str(error.value)
    scored_run(tmp_path / "none", ["experiment=lab", "evaluation=[]"], [])
    with pytest.raises(LidrError, match="no scores yet"):
        named(read_table("mgsm"), [tmp_path / "none"])
    with pytest.raises(LidrError, match="no run at or below"):
        named(read_table("mgsm"), [tmp_path / "nowhere"])


def test_several_judges_are_to_be_chosen_from(tmp_path: Path) -> None:
    scores = [score(f"mt_bench@{j}", "en", 0, "rating", v) for j, v in (("gpt4", 8.0), ("qwen", 7.0))]
    scored_run(tmp_path / "run", ["experiment=alpagasus_llama3_8b"], scores)
    spec = read_table("mt_bench")
    with pytest.raises(LidrError, match="gpt4, qwen -> type --judge gpt4"):
        named(spec, [tmp_path / "run"])
    with pytest.raises(LidrError, match="'qwen'"):
        named(spec, [tmp_path / "run"], judge="qwne")
    frame = tidy(named(spec, [tmp_path / "run"], judge="qwen"))
    assert cell(frame, "M_0", "en", "rating").ours == 7.0


def test_only_finished_runs_of_the_experiments_are_looked_up(outputs: Path) -> None:
    from lidr.store import RunDirectory

    scored_run(outputs / "lab" / "b", ["experiment=lab"], [score("lab", "en", 0, "accuracy", 0.9)])
    scored_run(outputs / "mgsm" / "failed", [*MGSM, "seed=7"], mgsm_scores(0))
    RunDirectory(outputs / "mgsm" / "failed").set_status("failed")
    scored_run(outputs / "mgsm" / "bare", [*MGSM, "seed=8"], [])
    edition = found_in(read_table("mgsm"), outputs)
    assert [run.root.name for run in edition.runs] == ["a"]
    assert [root.name for root in edition.passed_over] == ["bare"]


def test_the_papers_edition_comes_before_the_labs(outputs: Path) -> None:
    lab_run(outputs / "mgsm" / "lab", ["experiment=mgsm", "scale=lab"])
    assert found_in(read_table("mgsm"), outputs).scale is Scale.PAPER
    chosen = found_in(read_table("mgsm"), outputs, Scale.LAB)
    assert [run.root.name for run in chosen.runs] == ["lab"]


def test_without_any_run_the_table_is_the_papers_and_commands(tmp_path: Path) -> None:
    result = build_table(found_in(read_table("mgsm"), tmp_path), tmp_path / "out")
    assert result.frame["ours"].isna().all()
    assert result.frame["paper"].notna().all()
    assert [rows for rows, _ in result.missing] == ["M_0, M_1, M_2", "SFT"]
    assert result.paths.figures == ()


def test_the_gap_is_taken_as_it_is_stored(tmp_path: Path) -> None:
    lab_run(tmp_path / "run", ["experiment=e10_iterations", "scale=lab", "iterations=2"])
    edition = named(read_table("e10_iterations"), [tmp_path / "run"])
    gap = cell(tidy(edition), "fresh previous M_1", "gap", "imbalance_gap")
    stored = next(s for s in edition.runs[0].scores if (s.metric, s.iteration) == ("imbalance_gap", 1))
    assert (gap.ours, gap.low, gap.high) == (stored.value, stored.low, stored.high)


def test_how_much_was_trained_on_is_a_number_of_its_own(tmp_path: Path) -> None:
    rivals = {"nl": ["pairs=nl_only", "pairs.limit=120"], "mapo": ["pairs=mapo_lab", "pairs.limit=120"]}
    for number, (name, overrides) in enumerate(rivals.items()):
        lab_run(tmp_path / name, ["experiment=e4_rivals", "scale=lab", *overrides])
        counts = {"pairs": 400 + number, "steps": 25 + number, "seconds": 1.5}
        run = RunDirectory(tmp_path / name)
        run.folder(Stage(StageKind.TRAINING, 2)).mkdir(parents=True, exist_ok=True)
        run.finish(Stage(StageKind.TRAINING, 2), {}, {}, [], counts, 1.0)
    frame = tidy(named(read_table("e4_rivals"), [tmp_path / name for name in rivals]))
    for row, pairs in (("LIDR nl pairs, M_2", 400), ("MAPO, M_2", 401)):
        found = cell(frame, row, "all pairs", "pairs")
        assert (found.ours, found.n) == (pairs, pairs)
        assert cell(frame, row, "all pairs", "steps").ours == pairs - 375
    assert pd.isna(cell(frame, "MAPO, M_1", "all pairs", "steps").ours), "not trained yet"
    assert cell(frame, "MAPO, M_2", "es").ours > 0


def test_what_a_training_leaves_is_a_number_of_a_grid(tmp_path: Path) -> None:
    lab_run(tmp_path / "run", ["experiment=e9_objective", "scale=lab"])
    frame = tidy(named(read_table("e9_objective"), [tmp_path / "run"]))
    drift = cell(frame, "beta 0.1 alpha 1 by sequence", "all pairs", "chosen_drift")
    assert drift.ours > 0
    assert drift.n == 10
    assert "M_0" not in set(frame[frame["metric"] == "chosen_drift"]["row"])
