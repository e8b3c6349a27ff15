"""`lidr check` as a user meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lidr.__main__ import main
from lidr.commands.check import _what
from lidr.commands.table_list import requests
from lidr.compose import compose_run
from lidr.stages import Stage, StageKind

ROOT = Path(__file__).parents[2]
TINY = ["experiment=lab", "iterations=1", "prompts.limit=4", "evaluation=[]", "languages.non_dominant=[es]",
        "languages.unseen=[]", "tracking=none"]  # fmt: skip
NEED = {
    "requests", "prompt_tokens", "answer_tokens", "pairs", "training_tokens", "seconds", "bytes", "cost",
}  # fmt: skip
RUN = {
    "schema", "run", "stages", "total", "counting", "answers", "disk", "used", "probe", "warnings",
}  # fmt: skip


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["check", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"), [([], "directions = 8 "), (["pairs=round_trip"], "directions and back = 16 ")]
)
def test_a_round_trip_says_how_often_it_translates(more: list[str], said: str) -> None:
    config = compose_run([*TINY, *more])
    what = _what(Stage(StageKind.TRANSLATIONS, 1), config)
    assert what == f"4 responses x 1 languages x 2 {said}translations"
    assert requests(config) == 4 * 2 + 4 * (4 if more else 2)


def test_help_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("-h", "--help"):
        text = shown(capsys, flag, "experiment=lba")
        assert text.startswith("usage: lidr check")
        assert "--probe" in text


@pytest.mark.parametrize(
    ("flag", "nearest"), [("--prob", "'--probe'"), ("--jsn", "'--json'"), ("--multrun", "'--multirun'")]
)
def test_an_unknown_option_is_one_line(flag: str, nearest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", flag, *TINY]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err == f"{flag}: unknown option -> did you mean {nearest}?\n"


def test_json_has_stable_keys_and_nothing_else_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(shown(capsys, "--json", *TINY, f"paths.outputs={tmp_path}"))
    assert set(found) == RUN | {"configuration"}
    assert found["configuration"]["prompts"]["limit"] == 4
    assert [s["stage"].partition("/")[2] for s in found["stages"]] == [
        "prompts", "responses", "translations", "pairs", "training",
    ]  # fmt: skip
    for stage in found["stages"]:
        assert set(stage) == NEED | {"stage", "state", "records"}
    responses = found["stages"][1]
    assert responses["requests"] == {"low": 8, "expected": 8, "high": 8}
    assert responses["seconds"] is None
    assert found["total"]["requests"]["high"] == 16
    assert set(found["disk"]) == {"needed", "free", "fits"}
    assert found["probe"] is None
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_has_a_row_a_job_and_their_sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-m", *TINY, "prompts.limit=2,4", f"paths.outputs={tmp_path}"]
    found = json.loads(shown(capsys, "--json", *words))
    assert set(found) == {"schema", "jobs", "total", "stages", "note"}
    assert [set(job) for job in found["jobs"]] == [RUN | {"job", "overrides", "state"}] * 2
    each = [job["total"]["requests"]["expected"] for job in found["jobs"]]
    assert each == [8, 16]
    assert found["total"]["requests"]["expected"] == 24
    assert found["total"]["seconds"] is None
    text = shown(capsys, *words)
    assert "total" in text
    assert found["note"] == ""


def test_what_jobs_have_in_common_is_counted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """8 answers and 8 translations for both betas together, but two trainings; a copy of all on the disk of each."""
    words = ["-m", *TINY, "objective.beta=0.1,0.5", f"paths.outputs={tmp_path}"]
    found = json.loads(shown(capsys, "--json", *words))
    one, two = (job["total"] for job in found["jobs"])
    assert one == two
    assert found["total"]["requests"] == one["requests"]
    assert found["total"]["pairs"]["high"] == 2 * one["pairs"]["high"] > 0
    assert found["total"]["bytes"]["expected"] == 2 * one["bytes"]["expected"]
    assert found["stages"] == {"left": 10, "taken": 3}
    assert found["note"].startswith("10 stages are left to do; 3 of them are copied")
    apart = json.loads(shown(capsys, "--json", *words, "paths.share=false"))
    assert apart["total"]["requests"]["high"] == 2 * one["requests"]["high"]


def test_a_sweep_whose_prompts_run_out_is_refused_as_a_run_would_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "-m", *TINY, "prompts.limit=2,99999", f"paths.outputs={tmp_path}"]) == 2
    assert "99999" in capsys.readouterr().err


def test_a_probe_gives_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--probe", *TINY, f"paths.outputs={tmp_path}")
    assert "time    measured here" in text
    assert "unknown" not in text
    assert list(tmp_path.iterdir()) == []


def test_the_table_in_the_docs_is_what_the_command_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for what is free on this disk."""
    pages = [page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md"))]
    (block,) = [
        block
        for page in pages
        for block in re.findall(r"```\n\$ lidr check experiment=lab\n(.*?)```", page, re.DOTALL)
    ]
    text = shown(capsys, "experiment=lab", "tracking=none", f"paths.outputs={tmp_path}")
    printed = [line.rstrip() for line in text.splitlines()]
    documented = [line.rstrip() for line in block.splitlines() if line.strip() not in ("", "...")]
    assert len(documented) > 10
    for line in documented:
        if not line.startswith(("disk", "run")):
            assert line in printed
