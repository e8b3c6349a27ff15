"""A table from a real run of the lab, end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from lidr.__main__ import main
from lidr.compose import compose_run
from lidr.loop import run

pytestmark = pytest.mark.xdist_group("loop")
SMALL = [
    "iterations=1",
    "languages.non_dominant=[es,ru]",
    "languages.unseen=[zh]",
    "prompts.limit=16",
    "evaluation.lab.prompts.limit=8",
    "tracking=none",
]


def test_run_then_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(compose_run(["experiment=mgsm", "scale=lab", *SMALL]))
    capsys.readouterr()
    assert main(["table", "mgsm"]) == 0
    text = capsys.readouterr().out
    assert f"run     {done.run.root}" in text
    assert "missing M_2: lidr run experiment=mgsm scale=lab" in text
    folder = tmp_path / "outputs" / "tables" / "mgsm-lab"
    assert (folder / "figures" / "mgsm-accuracy.png").stat().st_size > 5000
    assert main(["judge", str(done.run.root), "judge=[oracle_scores]", "cache=null"]) == 0
    assert main(["table", "head_to_head", str(done.run.root)]) == 0
    assert "M_1 vs M_0" in capsys.readouterr().out
    assert main(["table", "--list"]) == 0
    assert "mgsm" in capsys.readouterr().out
