"""The benchmark in miniature: real processes, real trainers."""

import json
from pathlib import Path

import pytest

from experiments.bench import train
from experiments.bench.cases import CASES
from experiments.bench.contestants import RunFailed, execute, parse
from experiments.bench.spec import RunSpec, Setting


def test_one_round_of_the_lab(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rounds", "1", "--steps", "1", "--cases", "lab-fp32", "--out", str(tmp_path)]
    code = train.main([*arguments, "--contestants", "trl-tuned", "lidr"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert captured.out.splitlines()[-1] == "bench-train: default=n/a tuned=n/a memory=n/a"
    runs = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["cases"]["lab-fp32"][0]
    for run in runs.values():
        assert run["pairs"] == CASES["lab-fp32"].pairs_per_step
        assert run["seconds"] > 0
        assert run["peak_bytes"] > 2**20
    assert runs["lidr"]["tokens"] == runs["trl-tuned"]["tokens"]
    assert runs["lidr"]["reference_seconds"] > 0


def test_a_failed_run_shows_how_it_ended(tmp_path: Path) -> None:
    setting = Setting(model="nowhere", precision="fp32", pairs_per_step=4)
    spec = RunSpec(setting, "no.jsonl", str(tmp_path / "run"), overrides=["no_such_key=1"])
    with pytest.raises(RunFailed, match="no_such_key"):
        execute(spec, is_lidr=True)


def test_contestants_are_parsed() -> None:
    assert parse("lidr:a=1+b=2").overrides == ("a=1", "b=2")
    assert parse("trl-tuned:per_device=4").per_device == 4
    assert parse("trl-default").defaults
    with pytest.raises(SystemExit, match="contestants are"):
        parse("unsloth")
    with pytest.raises(SystemExit, match="contestants are"):
        parse("trl-tuned:lr=1")
