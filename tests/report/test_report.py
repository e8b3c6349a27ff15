from __future__ import annotations

import csv
import hashlib
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from lidr.errors import LidrError
from lidr.evaluation.outcomes import observations
from lidr.evaluation.significance import holm, permutation_test
from lidr.report import ReportPaths, build_report, read_scores, terminal_table
from lidr.report.frame import tidy
from lidr.report.grids import Grid
from lidr.report.metrics import written
from lidr.report.plotting import spread
from lidr.report.runs import read_runs
from lidr.report.writers import escape_latex, escape_markdown, frame_to_csv, harmless, latex, markdown

from .runs import EVIL, make_run


@pytest.fixture(scope="module")
def report(one_run: Path, tmp_path_factory: pytest.TempPathFactory) -> ReportPaths:
    return build_report([one_run], tmp_path_factory.mktemp("report"))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def table(text: str, title: str) -> list[list[str]]:
    """The cells of the Markdown table below a heading."""
    body = text.split(f"### {title}\n", 1)[1].split("\n#", 1)[0]
    rows = [line for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in (rows[0], *rows[2:])]


def test_one_run_has_every_section_and_the_same_bytes_twice(
    one_run: Path, report: ReportPaths, tmp_path: Path
) -> None:
    build_report([one_run], tmp_path)
    assert digests(report.markdown.parent) == digests(tmp_path)
    paths = report
    text = paths.markdown.read_text(encoding="utf-8")
    for title in ("Settings", "Benchmark lab (synthetic lab world)", "Training", "What became of the pairs"):
        assert f"## {title}\n" in text
    rows = table(text, "Accuracy (%)")
    assert rows[0] == ["language", "n", "M_0", "M_1", "M_2", "M_2 - M_0", "p"]
    assert [row[0] for row in rows[1:]] == [
        "en (dominant)",
        *("es", "de", "fr", "ru", "zh (unseen)"),
        *("mean non-dominant", "mean unseen", "imbalance gap"),
    ]
    assert all(re.fullmatch(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", cell) for row in rows[1:-1] for cell in row[2:5])
    assert all(re.fullmatch(r"[-+]?\d+\.\d \[[-+]?\d+\.\d, [-+]?\d+\.\d\]", row[5]) for row in rows[1:])
    assert all(re.fullmatch(r"(?:<|&lt;|\\<)0\.001|[01]\.\d{2,3}", row[6]) for row in rows[1:])
    assert table(text, "Reward accuracy (%)")[1][:3] == ["en (dominant)", "19 to 21", "100.0 [82.4, 100.0]"]
    assert "0 in every cell" in text.split("### Truncated answers (%)")[1][:40]
    assert {p.suffix for p in paths.figures} == {".png", ".pdf"}
    assert all(f"(figures/{p.name})" in text for p in paths.figures if p.suffix == ".png")
    assert all(p.stat().st_size > 5000 for p in paths.figures)


def test_the_report_names_no_folder_and_no_date(one_run: Path, report: ReportPaths) -> None:
    for path in report.markdown.parent.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(one_run.parent).encode() not in content
            assert b"CreationDate" not in content
            assert b"Software" not in content


def test_a_paired_difference_is_the_difference_of_the_cells(one_run: Path) -> None:
    frame = tidy(read_runs([one_run])).set_index(["metric", "language", "model"])["value"]
    for metric, language in (("accuracy", "es"), ("joint", "mean non-dominant"), ("imbalance_gap", "all")):
        first, last, change = (frame[metric, language, m] for m in ("M_0", "M_2", "M_2 - M_0"))
        assert change == pytest.approx(last - first)


def test_p_values_are_adjusted_over_languages_and_of_changes_alone(one_run: Path) -> None:
    run = read_runs([one_run])[0]
    frame = tidy([run]).query("metric == 'accuracy'")
    assert frame.query("model == 'M_2'")["p"].isna().all()
    changes = frame.query("model == 'M_2 - M_0'").set_index("language")["p"]
    seen = [observations(run.outcomes("lab", t), "accuracy") for t in (2, 0)]
    codes = list(run.config.languages.all)
    single = holm([permutation_test(*seen, {code: 1.0}) for code in codes])
    assert changes[codes].tolist() == single
    non_dominant = run.config.languages.non_dominant
    pooled = permutation_test(*seen, {code: 1 / len(non_dominant) for code in non_dominant})
    assert changes["mean non-dominant"] == pooled


def test_the_paired_interval_has_the_width_the_answers_imply(one_run: Path) -> None:
    """The made-up models answer independently, so it is about as wide as that of two independent means."""
    frame = tidy(read_runs([one_run])).query("metric == 'accuracy' and language == 'es'").set_index("model")
    width = frame["high"] - frame["low"]
    independent = (width["M_0"] ** 2 + width["M_2"] ** 2) ** 0.5
    assert width["M_2 - M_0"] == pytest.approx(independent, rel=0.15)


def test_three_runs_stand_side_by_side_and_what_is_missing_is_a_dash(
    three_runs: list[Path], tmp_path: Path
) -> None:
    paths = build_report(three_runs, tmp_path)
    text = paths.markdown.read_text(encoding="utf-8")
    last = table(text, "Accuracy, last model (%)")
    assert last[0] == ["language", "beta=0.05: M_2", "beta=0.1: M_2", "beta=0.5: M_1"]
    assert table(text, "Accuracy, change since M_0 (points)")[0][3] == "beta=0.5: M_1 - M_0"
    unfinished = text.split("## Run beta=0.5")[1]
    rows = table(unfinished, "Accuracy (%)")
    assert rows[0] == ["language", "n", "M_0", "M_1", "M_2", "M_1 - M_0", "p"]
    assert {row[4] for row in rows[1:]} == {"-"}
    assert "lab-accuracy-change.png" in {p.name for p in paths.figures}
    frame = pd.read_csv(tmp_path / "tables" / "scores.csv")
    assert set(frame["run"]) == {"beta=0.05", "beta=0.1", "beta=0.5"}
    assert frame["value"].between(-1, 1).all()


def test_a_run_without_any_score_has_a_report(tmp_path: Path) -> None:
    make_run(tmp_path / "run", evaluated=-1)
    text = build_report([tmp_path / "run"], tmp_path / "out").markdown.read_text(encoding="utf-8")
    assert "## Training" in text


def test_a_run_without_benchmarks_has_a_report(tmp_path: Path) -> None:
    from lidr.compose import compose_run
    from lidr.config import to_yaml

    (tmp_path / "run").mkdir()
    config = compose_run(["evaluation=[]"])
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    text = build_report([tmp_path / "run"], tmp_path / "out").markdown.read_text(encoding="utf-8")
    assert "synthetic" not in text


def test_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LidrError):
        build_report([], tmp_path)
    with pytest.raises(LidrError):
        build_report([tmp_path / "nothing"], tmp_path)


def test_model_text_breaks_no_table(report: ReportPaths) -> None:
    text = report.markdown.read_text(encoding="utf-8")
    assert "<script>" not in text
    rows = table(text, "First pairs of iteration 1")
    assert {len(row) for row in rows} == {7}
    assert any("&lt;script&gt;" in cell and "&#124;" in cell for row in rows for cell in row)
    with (report.markdown.parent / "tables" / "examples-iteration-1.csv").open(
        encoding="utf-8", newline=""
    ) as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'" + EVIL in cells


def test_escapes() -> None:
    assert escape_markdown("a|b\n<i>*c* `d` $e$") == "a&#124;b &lt;i&gt;\\*c\\* \\`d\\` \\$e\\$"
    assert escape_markdown("M_0 _x_ [1, 2]") == "M_0 \\_x\\_ [1, 2]"
    assert escape_markdown("[x](javascript:y)") == "[x\\](javascript:y)"
    assert escape_markdown("a\u202eb\x00c") == "a b c"
    assert escape_latex("50 % of M_0 & \\x {~^}") == (
        r"50 \% of M\_0 \& \textbackslash{}x \{\textasciitilde{}\textasciicircum{}\}"
    )
    assert [harmless(t) for t in ("=1", "+x", "-x", "@a", "-", "-1.5", "+2", "x=1")] == [
        *("'=1", "'+x", "'-x", "'@a"),
        *("-", "-1.5", "+2", "x=1"),
    ]
    frame = pd.DataFrame({"run": ["=cmd()", "b"], "value": [-0.5, float("nan")]})
    assert frame_to_csv(frame) == "run,value\n'=cmd(),-0.5\nb,\n"


def test_latex_is_booktabs() -> None:
    grid = Grid("x", "T", ("language", "M_0"), (("es", "1.0 [0.5, 1.5]"), ("[de]", "-")))
    lines = latex(grid).splitlines()
    assert lines[2:] == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"{}language & M\_0 \\",
        r"\midrule",
        r"{}es & 1.0 [0.5, 1.5] \\",
        r"{}[de] & - \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert markdown(grid).splitlines()[1] == "| --- | ---: |"


def test_written() -> None:
    assert written("accuracy", 0.5, 0.25, 0.75) == "50.0 [25.0, 75.0]"
    assert written("accuracy", 0.125, -0.0001, 0.25, signed=True) == "+12.5 [0.0, +25.0]"
    assert written("tokens", 33.25) == "33.3"
    assert written("accuracy", None) == "-"


def test_labels_are_moved_apart_around_their_centre() -> None:
    assert spread([0.0, 0.1, 10.0], 1.0) == pytest.approx([-0.45, 0.55, 10.0])
    assert spread([], 1.0) == []


def test_terminal_table_fits_80_columns(one_run: Path) -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(terminal_table(read_scores(one_run)))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("lab: accuracy (%)")
    assert lines[1].split()[:4] == ["language", "M_0", "M_1", "M_2"]
    assert [line.split()[0] for line in lines[2:10]] == ["en", "es", "de", "fr", "ru", "zh", "mean", "mean"]
    assert re.search(r"^en +\d+\.\d ±\d+\.\d .* \d+\.\d→\d+\.\d *$", lines[2])
    assert "…" not in out.getvalue()


def test_terminal_table_of_nothing_is_empty() -> None:
    assert terminal_table([]).row_count == 0
