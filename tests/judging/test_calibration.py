from __future__ import annotations

import json
from pathlib import Path

import pytest

from lidr.__main__ import main
from lidr.compose import compose_judging
from lidr.errors import LidrError
from lidr.judging.calibration import calibrate, damaged, lab_content, read_content
from lidr.judging.lab_judge import LabJudge


def test_damage_grows_by_quarters_and_keeps_the_order() -> None:
    text = " ".join(map(str, range(12)))
    whole, *rest = [damaged(text, "en", step, "a").split() for step in (0, 1, 2, 3)]
    assert [len(whole), *map(len, rest)] == [12, 9, 6, 3]
    assert set(rest[2]) < set(rest[1]) < set(rest[0]) < set(whole)
    assert all(left == sorted(left, key=int) for left in rest)
    assert len(damaged("安娜有三个苹果。", "zh", 1, "a")) == 6


def test_the_oracle_has_one_scale_and_notices_damage(tmp_path: Path) -> None:
    own = compose_judging(["judge=[oracle]"]).judges["oracle"]
    languages = ["en", "es", "zh"]
    scales = calibrate(lab_content(languages, 30), own, LabJudge(own, 0), tmp_path)
    assert [s.language for s in scales] == languages
    assert scales[0].offset.value is None
    for s in scales:
        assert s.intact.value == 10.0
        assert s.intact.n == 30
        assert s.unread == 0
        assert s.slope.value is not None
        assert s.slope.value < -1
    assert scales[1].offset.value == 0.0


def test_the_command_prints_and_writes_scales(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", "judge=[oracle]", "limit=8", "--languages", "en,es"]) == 0
    assert "points a step" in capsys.readouterr().out
    records = json.loads((tmp_path / "outputs/calibration/oracle/scales.json").read_text(encoding="utf-8"))
    assert [r["language"] for r in records] == ["en", "es"]


def test_content_of_files_has_to_be_parallel(tmp_path: Path) -> None:
    def write(language: str, ids: list[str]) -> None:
        lines = [json.dumps({"id": i, "prompt": "p", "answer": "a"}) + "\n" for i in ids]
        (tmp_path / f"{language}.jsonl").write_text("".join(lines), encoding="utf-8")

    write("en", ["1", "2"])
    write("es", ["1", "2"])
    pattern = str(tmp_path / "{language}.jsonl")
    assert {c: len(items) for c, items in read_content(pattern, ["en", "es"], 1).items()} == {
        "en": 1,
        "es": 1,
    }
    write("es", ["2", "1"])
    with pytest.raises(LidrError, match=r"es\.jsonl: holds other ids than .*en\.jsonl"):
        read_content(pattern, ["en", "es"], 5)
    (tmp_path / "es.jsonl").write_text('{"id": "1", "prompt": "p"}\n', encoding="utf-8")
    with pytest.raises(LidrError, match=r"es\.jsonl:1: has no text under id, prompt and answer"):
        read_content(pattern, ["en", "es"], 5)
