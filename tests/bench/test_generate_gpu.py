"""The benchmark of generation on a GPU, on a CPU with a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.bench.generate_gpu import Run, main, summary

TINY = ("--shape", "tiny", "--device", "cpu", "--requests", "6", "--mean-length", "8")
SHORT = ("--max-new-tokens", "24", "--translation-tokens", "4")


def test_every_contestant_answers_every_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Answers end early, translations as good as never."""
    assert main(["--out", str(tmp_path), *TINY, *SHORT, "--contestants", "lidr-3", "generate-4"]) == 0
    runs = {(r["contestant"], r["workload"]): r for r in json.loads((tmp_path / "results.json").read_text())}
    assert len(runs) == 4
    for name in ("lidr-3", "generate-4"):
        assert 6 <= runs[name, "answers"]["tokens"] < 6 * 24
        assert runs[name, "translations"]["tokens"] <= 6 * 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("translations  lidr-3 over generate-4: ")


def test_medians_over_the_fastest_fixed_batch() -> None:
    speeds = {"lidr-8": (60, 80), "generate-8": (10, 10), "generate-16": (20, 40)}
    runs = [Run(name, "answers", n, 1.0, 0) for name, own in speeds.items() for n in own]
    assert summary(runs) == ["answers       lidr-8 over generate-16: 2.33 (1.50 to 4.00)"]


def test_an_unknown_contestant_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="'lidr-x': contestants are"):
        main(["--out", str(tmp_path), *TINY, "--contestants", "lidr-x"])


def test_without_a_gpu_it_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="type --device cpu --shape tiny"):
        main(["--out", str(tmp_path)])
