"""``lidr table`` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lidr.__main__ import main
from lidr.tables import table_names
from tests.tables.make import lab_run, official, score, scored_run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in; paths.outputs is ./outputs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["table", *words]) == 0
    return capsys.readouterr().out


def test_without_a_run_every_cell_is_a_dash_with_its_command(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, "mgsm")
    assert (
        "missing M_0, M_1, M_2: lidr run experiment=mgsm paths.data=<clone of the paper's repository>" in text
    )
    assert "run     none: no finished run of mgsm, mgsm_sft below outputs" in text
    assert "57.0†" in text
    assert (here / "outputs" / "tables" / "mgsm" / "mgsm.md").is_file()


def test_finished_runs_are_found_and_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored_run(
        here / "outputs" / "mgsm" / "a", ["experiment=mgsm"], [score("mgsm", "es", 2, "accuracy", 0.65)]
    )
    text = shown(capsys, "mgsm")
    assert "run     outputs/mgsm/a" in text
    assert "65.0 ±5.0" in text
    assert "+1.0" in text


def test_the_labs_edition_goes_into_a_folder_of_its_own(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab_run(here / "outputs" / "mgsm" / "a", ["experiment=mgsm", "scale=lab"])
    assert "Synthetic lab world" in shown(capsys, "mgsm")
    assert (here / "outputs" / "tables" / "mgsm-lab" / "mgsm.md").is_file()
    shown(capsys, "mgsm", "outputs/mgsm/a", "--out", "mine")
    assert (here / "mine" / "mgsm.md").is_file()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["mgms"], "did you mean 'mgsm'?"),
        ([], "lidr table --list"),
        (["mgsm", "nowhere"], "no run at or below this folder"),
        (["mgsm", "run"], "no score of lab or mgsm"),
        (["x_alpacaeval", "run", "--scale", "paper"], "fidelity@<judge>"),
        (["mgsm", "--judge", "gpt4"], "no score of judge 'gpt4'"),
    ],
)
def test_a_mistake_is_a_line(
    words: list[str], what: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scored_run(
        here / "run", ["experiment=alpagasus_llama3_8b"], [score("fidelity", "en", 0, "on_target", 1.0)]
    )
    assert main(["table", *words]) == 1
    out = capsys.readouterr()
    assert what in out.err
    assert len(out.err.splitlines()) == 1
    assert "Traceback" not in out.err


def test_the_list_has_every_table_and_what_was_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored_run(here / "outputs" / "mgsm" / "a", ["experiment=mgsm"], [])
    lab_run(here / "outputs" / "mgsm_sft" / "b", ["experiment=mgsm_sft", "scale=lab"])
    text = shown(capsys, "--list")
    lines = {line.split()[0]: line for line in reversed(text.splitlines()) if line.split()}
    assert set(table_names()) <= set(lines)
    assert lines["mgsm"].split()[:6] == ["mgsm", "MGSM", "mgsm", "1", "104,636", "-"]
    assert lines["mgsm_sft"].split()[:4] == ["mgsm_sft", "-", "53,568", "1"]
    assert list((here / "outputs").glob("tables/*")) == []


def test_the_list_of_a_table_counts_what_it_takes(
    here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = shown(capsys, "mgsm", "--list")
    rows = [line.split() for line in text.splitlines()]
    assert ["mgsm", "paper", "1", "105k", "-", "-", "-"] in rows
    assert any(row[:3] == ["mgsm", "lab", "1"] and row[4] != "-" for row in rows)
    assert "--data" in text
    data = official(tmp_path / "data")
    text = shown(capsys, "mgsm", "--list", "--scale", "paper", "--data", str(data))
    (row,) = (line for line in text.splitlines() if line.startswith("mgsm "))
    assert "-" not in row.split()
    assert row.endswith("unknown"), "the model is not there, so neither is its size"
