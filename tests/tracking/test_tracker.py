"""Runs mirrored offline, read back from W&B's own file; no network."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import threading
import time
from pathlib import Path

import pytest

from lidr.config import RunConfig, TrackingMode, identity
from lidr.evaluation import Score
from lidr.evaluation.results import write_scores
from lidr.stages import Stage, StageKind
from lidr.tracking import Tracker
from tests.report.loops import tear

from .conftest import mirrored
from .small import ROWS
from .wandb_file import StoredRun, stored_runs

TRAINING = Stage(StageKind.TRAINING, 1)


def only(run_dir: Path) -> StoredRun:
    (run,) = stored_runs(run_dir)
    return run


def test_a_finished_run_holds_config_axes_history_table_and_summary(config: RunConfig, run: Path) -> None:
    mirrored(run, config)
    stored = only(run)
    assert (stored.id, stored.group, stored.job_type) == (identity(config), config.name, "train")
    assert stored.exit_code == 0
    assert {"night", config.model.name, "dpo", "en-es"} <= set(stored.tags)
    assert stored.config["objective"]["beta"] == stored.config["beta"] == 0.1
    assert (stored.config["seed"], stored.config["language_set"]) == (0, "en-es")
    assert not [key for key in stored.config if "." in key], "the app cannot group by a key with a dot"
    assert stored.axes["train/*"] == "train/step_total"
    assert stored.axes["iteration-1/*"] == "iteration-1/step"
    assert {stored.axes[f"{key}/*"] for key in ("eval", "gap", "pairs", "samples")} == {"iteration"}
    assert stored.steps == list(range(ROWS))
    assert stored.column("train/step_total") == list(range(1, 81))
    assert stored.column("iteration-2/step") == list(range(1, 41))
    assert stored.column("train/loss")[38:42] == [1 / 39, 1 / 40, 1, 1 / 2]
    assert stored.column("train/tokens_per_second")[:2] == [101, 102]
    assert not [key for row in stored.history for key in row if key.startswith("iteration-1/loss/")]
    assert stored.column("iteration") == [0, 1, 1, 2, 2]
    assert stored.column("pairs/nl/es/on_target/chosen/on") == [4, 4]
    assert stored.column("gap/lab/accuracy") == [0.4, pytest.approx(0.3), pytest.approx(0.2)]
    scores = stored.table("scores")
    first = stored.column("eval/lab/es/accuracy")
    assert first == [0.5, 0.6, 0.7]
    listed = [dict(zip(scores["columns"], row, strict=True)) for row in scores["data"]]
    places = ("language", "iteration", "benchmark", "metric")
    found = [r for r in listed if [r[k] for k in places] == ["es", 2, "lab", "accuracy"]]
    assert [(r["run"], r["seed"], r["objective"], r["beta"], r["value"]) for r in found] == [
        (identity(config), 0, "dpo", 0.1, first[2])
    ]
    assert stored.summary["change/eval/lab/es/accuracy"] == pytest.approx(0.2)


def crash(config: RunConfig, run_dir: Path) -> None:
    with Tracker(config, run_dir, "one") as tracker:
        tracker.mirror(Stage(StageKind.EVALUATION, 0))
        raise RuntimeError("out of memory")


def test_a_crashed_run_ends_as_failed_and_the_next_one_is_another_run(
    config: RunConfig, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        crash(config, run)
    second = run.rename(tmp_path / "second")
    with Tracker(config, second, "two") as tracker:
        tracker.mirror(TRAINING)
    failed, fine = sorted(stored_runs(second), key=lambda r: r.id)
    assert (failed.id, failed.exit_code, failed.steps) == ("one", 1, [0])
    assert (fine.id, fine.exit_code) == ("two", 0)
    assert fine.steps == list(range(2, 42)), "the rows before it are another attempt's"
    import wandb

    assert wandb.run is None


@pytest.mark.parametrize("torn", [1, 600, 5000])
def test_a_resumed_run_goes_on_where_the_file_of_the_killed_one_ends(
    config: RunConfig, run: Path, torn: int
) -> None:
    """A kill tears W&B's file anywhere: no row is lost, none is there twice."""
    metrics = run / TRAINING.name / "metrics.jsonl"
    whole = metrics.read_bytes()
    tear(metrics, 30)
    with Tracker(config, run, "same") as tracker:
        tracker.mirror(Stage(StageKind.EVALUATION, 0))
        tracker.mirror(Stage(StageKind.PAIRS, 1))
        tracker.mirror(TRAINING)
    assert only(run).steps == list(range(32))
    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    file.write_bytes(file.read_bytes()[:-torn])
    metrics.write_bytes(b"".join(whole.splitlines(keepends=True)[:20]) + whole)  # back at a checkpoint
    with Tracker(config, run, "same") as tracker:
        tracker.mirror_all()
    runs = stored_runs(run, finished=1)
    assert {r.id for r in runs} == {"same"}
    assert [row for r in runs for row in r.steps] == list(range(ROWS))
    assert [s for r in runs for s in r.column("train/step_total")] == list(range(1, 81))
    assert "change/eval/lab/es/accuracy" in runs[-1].summary


def judge(run: Path, name: str, value: float) -> None:
    score = Score(f"lab vs initial@{name}", "es", 2, "win_rate", value, None, None, 4)
    write_scores(run / "judging" / name, [score])


def test_judges_come_after_the_loop_each_once(config: RunConfig, run: Path) -> None:
    for said in ({"oracle": 0.75}, {"oracle": 0.75, "noisy": 0.5}, {"oracle": 0.25}):
        for name, value in said.items():
            judge(run, name, value)
        mirrored(run, config)
    runs = stored_runs(run)
    key = "eval/lab-vs-initial-{}/es/win_rate"
    assert [v for r in runs for v in r.column(key.format("oracle"))] == [0.75, 0.25]
    assert [v for r in runs for v in r.column(key.format("noisy"))] == [0.5]
    assert [row for r in runs for row in r.steps] == list(range(ROWS + 6))
    assert runs[-1].summary[key.format("oracle")] == 0.25


def test_training_is_mirrored_while_another_thread_polls(config: RunConfig, run: Path) -> None:
    metrics = run / TRAINING.name / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("")
    stop = threading.Event()

    def poll(tracker: Tracker) -> None:
        while not stop.is_set():
            tracker.mirror(TRAINING)

    with Tracker(config, run, "live") as tracker:
        pollers = [threading.Thread(target=poll, args=(tracker,)) for _ in range(2)]
        for poller in pollers:
            poller.start()
        with metrics.open("a", encoding="utf-8") as file:
            for line in lines[:20]:
                for part in (line[:15], line[15:]):
                    file.write(part)
                    file.flush()
                    time.sleep(0.002)
        stop.set()
        for poller in pollers:
            poller.join()
        tracker.mirror(TRAINING)
    assert only(run).column("train/step") == list(range(1, 21))


def test_none_does_nothing_at_all(config: RunConfig, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    off = dataclasses.replace(config, tracking=dataclasses.replace(config.tracking, mode=TrackingMode.NONE))
    monkeypatch.setitem(sys.modules, "wandb", None)
    mirrored(run, off)
    assert not (run / "wandb").exists()


@pytest.mark.parametrize("broken", ["iteration-1/pairs/audit.json", "iteration-0/evaluation/scores.json"])
def test_a_file_that_cannot_be_mirrored_is_a_warning(
    config: RunConfig, run: Path, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    (run / broken).write_text("[")
    with caplog.at_level(logging.WARNING):
        mirrored(run, config)
    assert "cannot be mirrored" in caplog.text
    stored = only(run)
    assert stored.exit_code == 0
    assert stored.column("train/step_total") == list(range(1, 81)), "the others are mirrored"


def test_a_broken_cell_costs_the_row_alone(config: RunConfig, run: Path) -> None:
    audit = json.loads((run / "iteration-1/pairs/audit.json").read_text())
    (run / "iteration-1/pairs/audit.json").write_text(json.dumps(audit | {"pairs": [{"kept": 1}]}))
    mirrored(run, config)
    assert only(run).column("pairs/kept") == [60]


def test_a_folder_that_takes_nothing_is_a_warning(
    config: RunConfig, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run / "wandb").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        mirrored(run, config)
    (record,) = caplog.records
    assert "the run cannot be mirrored" in record.getMessage()
