"""``lidr status``: what it says of runs in every state, and when it stops watching."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from lidr.__main__ import main
from lidr.commands import overview as of
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from tests.changed import base, changed

SMALL = ["experiment=lab", "prompts.limit=4", "iterations=1", "languages.non_dominant=[es]", "evaluation=[]"]


def make(outputs: Path, beta: float, *more: str) -> RunDirectory:
    config = changed(base(*SMALL, *more), objective__beta=beta, paths__outputs=str(outputs))
    run = RunDirectory.of(config)
    run.open(config)
    return run


def finish(run: RunDirectory, kind: StageKind, **counts: int) -> None:
    stage = Stage(kind, 1)
    run.folder(stage).mkdir(parents=True)
    run.finish(stage, {}, {}, [], counts, 0.0)


@pytest.fixture
def sweep(tmp_path: Path) -> tuple[RunDirectory, ...]:
    """A job to do, one that waits, one that was killed, one that failed and one that is done."""
    to_do, waiting, killed, failed, done = (make(tmp_path, beta) for beta in (0.1, 0.2, 0.3, 0.4, 0.5))
    to_do.set_status("to do")
    for run in (waiting, killed, failed):
        finish(run, StageKind.PROMPTS, prompts=4)
    waiting.set_status("running", "iteration-1/responses", waits_for="lab/other")
    killed.set_status("running", "iteration-1/responses")
    folder = killed.folder(Stage(StageKind.RESPONSES, 1))
    folder.mkdir()
    (folder / "en.jsonl").write_text('{"id": "1"}\n{"id": "2"}\n{"id"')
    for kind, counts in (
        (StageKind.RESPONSES, {}),
        (StageKind.TRANSLATIONS, {}),
        (StageKind.PAIRS, {"kept": 33}),
    ):
        finish(failed, kind, **counts)
    failed.folder(Stage(StageKind.TRAINING, 1)).mkdir()
    (failed.folder(Stage(StageKind.TRAINING, 1)) / "metrics.jsonl").write_text('{"step": 1}\n')
    failed.set_status("failed", "iteration-1/training", "no room")
    done.set_status("done")
    return to_do, waiting, killed, failed, done


def test_a_row_says_state_stage_progress_and_why(sweep: tuple[RunDirectory, ...]) -> None:
    with FileLock(sweep[1].root / ".lock"):
        rows = of.overview(sweep, time.time())
    assert [row.state for row in rows] == ["to do", "running", "killed", "failed", "done"]
    assert [row.label for row in rows] == [f"beta=0.{n}" for n in range(1, 6)]
    assert [row.finished for row in rows] == [0, 1, 1, 4, 0]
    assert {row.stages for row in rows} == {5}
    assert [row.now for row in rows] == [
        "", "iteration-1/responses", "iteration-1/responses 2/8", "iteration-1/training 1/3", ""
    ]  # fmt: skip
    assert [row.note for row in rows] == ["", "waits for lab/other", "", "no room", ""]


def test_the_age_is_that_of_the_last_byte(sweep: tuple[RunDirectory, ...]) -> None:
    killed = sweep[2]
    path = killed.folder(Stage(StageKind.RESPONSES, 1)) / "en.jsonl"
    os.utime(path, (time.time() + 100, time.time() + 100))
    (row,) = of.overview([killed], time.time() + 160)
    assert row.age in ("59 s", "60 s", "1 min")
    assert of.age(59.9) == "59 s"
    assert of.age(3 * 3600 + 5) == "3 h"
    assert of.age(49 * 3600) == "2 d"
    assert of.age(-1) == "0 s"


def test_an_evaluation_counts_answers_and_no_scores(tmp_path: Path) -> None:
    run = make(tmp_path, 0.1, "evaluation=[lab]", "evaluation.lab.prompts.limit=5")
    run.set_status("failed", "iteration-0/evaluation", "stopped")
    folder = run.folder(Stage(StageKind.EVALUATION, 0)) / "lab"
    folder.mkdir(parents=True)
    for name in ("en.jsonl", "outcomes.jsonl"):
        (folder / name).write_text("{}\n{}\n")
    (row,) = of.overview([run], time.time())
    assert row.now == "iteration-0/evaluation 2/15", "en, es and the unseen zh"


def test_the_counts_and_the_exit_code(
    sweep: tuple[RunDirectory, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["status", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 done, 1 failed, 2 killed, 1 to do"
    assert main(["status", str(sweep[-1].root)]) == 0


def test_watching_ends_when_all_are_at_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path, 0.1)
    run.set_status("to do")
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            run.set_status("done")

    monkeypatch.setattr(sys.modules["lidr.commands.status"].time, "sleep", sleep)
    assert main(["status", str(tmp_path), "--watch", "--every", "0.5"]) == 0
    assert looks == [0.5, 0.5]
    assert "1 done" in capsys.readouterr().out


def test_who_watches_may_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, 0.1).set_status("to do")

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["lidr.commands.status"].time, "sleep", interrupt)
    assert main(["status", str(tmp_path), "--watch"]) == 0


@pytest.mark.parametrize("every", ["0", "soon", "nan"])
def test_a_pause_that_is_none(every: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["status", str(tmp_path), "--every", every])
    assert "--every" in capsys.readouterr().err


def test_the_record_is_what_is_written(tmp_path: Path) -> None:
    run = make(tmp_path, 0.1)
    run.set_status("running", "iteration-1/pairs", waits_for="lab/x")
    assert json.loads((run.root / "status.json").read_text())["waits_for"] == "lab/x"
    run.set_status("running", "iteration-1/pairs")
    assert run.status().waits_for is None
