"""Offline runs, read back from W&B's own file; no network."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lidr.compose import compose_run
from lidr.config import RunConfig, TrackingMode
from lidr.tracking import Tracker
from lidr.tracking.mirror import Mirror

from .samples import FakeScore, pairs, step, steps
from .wandb_file import StoredRun, stored_runs


@pytest.fixture
def config() -> RunConfig:
    return compose_run(["tracking=offline", "tracking.tags=[night]", "tracking.sample_pairs=2"])


def only(run_dir: Path) -> StoredRun:
    (run,) = stored_runs(run_dir)
    return run


def test_a_finished_run_holds_config_axes_history_tables_and_summary(
    config: RunConfig, tmp_path: Path
) -> None:
    path = pairs(tmp_path / "pairs")
    with Tracker(config, tmp_path, "abc123") as tracker:
        tracker.log_scores([FakeScore("es", 0, 0.4), FakeScore("ru", 0, None)])
        tracker.log_pairs(1, path, path.with_name("audit.json"))
        tracker.mirror_training(1, steps(tmp_path / "t" / "m.jsonl", [step(1), step(2)]))
        tracker.mirror_training(2, steps(tmp_path / "t2" / "m.jsonl", [step(1, 2)]))
        tracker.log_scores([FakeScore("es", 1, 0.6), FakeScore("all", 1, 0.2, "imbalance_gap")])
    run = only(tmp_path)
    assert (run.id, run.group, run.exit_code) == ("abc123", config.name, 0)
    assert {"night", config.model.name, "dpo", "en-es-de-fr-ru"} <= set(run.tags)
    assert run.config["objective.beta"] == 0.1
    assert run.config["languages.non_dominant"] == ["es", "de", "fr", "ru"]
    assert run.axes["train/*"] == "train/step_total"
    assert run.axes["iteration-1/*"] == "iteration-1/step"
    assert run.axes["eval/*"] == run.axes["gap/*"] == run.axes["pairs/*"] == "iteration"
    assert run.column("train/step_total") == [1, 2, 3]
    assert run.column("train/loss") == [1.0, 0.5, 1.0]
    assert run.column("iteration-2/step") == [1]
    assert run.column("eval/lab/es/accuracy") == [0.4, 0.6]
    assert run.column("gap/lab/accuracy") == [0.2]
    assert run.column("pairs/nl/es/on_target/chosen/on") == [4]
    assert run.summary["change/eval/lab/es/accuracy"] == pytest.approx(0.2)
    columns = ["language", "iteration", "benchmark", "metric", "value", "low", "high", "n"]
    assert run.table("scores")["columns"] == columns
    assert len(run.table("scores")["data"]) == 4
    sample = run.table("samples/iteration-1")
    assert sample["columns"][:3] == ["iteration", "id", "language"]
    assert len(sample["data"]) == 2
    assert sample["data"][0][3] == "¿x?"


def crash(config: RunConfig, run_dir: Path) -> None:
    with Tracker(config, run_dir, "one") as tracker:
        tracker.log_scores([FakeScore("es", 0, 0.4)])
        raise RuntimeError("out of memory")


def interrupt(config: RunConfig, run_dir: Path, metrics: Path, path: Path) -> None:
    with Tracker(config, run_dir, "same") as tracker:
        tracker.log_scores([FakeScore("es", 0, 0.4)])
        tracker.log_pairs(1, path, path.with_name("audit.json"))
        tracker.mirror_training(1, steps(metrics, [step(1), step(2)], tail='{"step": 3, "tra'))
        raise KeyboardInterrupt


def test_a_crashed_run_ends_as_failed_and_the_next_one_is_another_run(
    config: RunConfig, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(RuntimeError, match="out of memory"):
        crash(config, first)
    with Tracker(config, second, "two") as tracker:
        tracker.log_scores([FakeScore("es", 0, 0.9)])
    crashed, fine = only(first), only(second)
    assert (crashed.id, crashed.exit_code) == ("one", 1)
    assert (fine.id, fine.exit_code) == ("two", 0)
    assert crashed.column("eval/lab/es/accuracy") == [0.4]
    assert fine.column("eval/lab/es/accuracy") == [0.9]
    import wandb

    assert wandb.run is None


def test_a_resumed_run_keeps_its_id_and_logs_nothing_twice(config: RunConfig, tmp_path: Path) -> None:
    metrics, path = tmp_path / "m.jsonl", pairs(tmp_path / "pairs")
    with pytest.raises(KeyboardInterrupt):
        interrupt(config, tmp_path, metrics, path)
    with Tracker(config, tmp_path, "same") as tracker:
        tracker.log_scores([FakeScore("es", 0, 0.4)])
        tracker.log_pairs(1, path, path.with_name("audit.json"))
        # Back at the checkpoint of step 1: step 2 is written again, then new ones come.
        tracker.mirror_training(1, steps(metrics, [step(1), step(2)]))
        tracker.mirror_training(1, steps(metrics, [step(1), step(2), step(3), step(4)]))
        tracker.mirror_training(1, metrics)
        tracker.log_scores([FakeScore("es", 1, 0.6)])
    runs = stored_runs(tmp_path)
    assert [r.id for r in runs] == ["same", "same"]
    assert [r.exit_code for r in runs] == [1, 0]
    assert [s for r in runs for s in r.column("train/step_total")] == [1, 2, 3, 4]
    assert [v for r in runs for v in r.column("eval/lab/es/accuracy")] == [0.4, 0.6]
    rows = [s for r in runs for s in r.steps]
    assert rows == sorted(set(rows))
    assert sum(bool(r.column("samples/iteration-1.path")) for r in runs) == 1
    assert len(runs[1].table("scores")["data"]) == 2


def test_training_is_mirrored_while_another_thread_polls(config: RunConfig, tmp_path: Path) -> None:
    metrics = tmp_path / "m.jsonl"
    stop = threading.Event()

    def poll(tracker: Tracker) -> None:
        while not stop.is_set():
            tracker.mirror_training(1, metrics)

    with Tracker(config, tmp_path, "live") as tracker:
        pollers = [threading.Thread(target=poll, args=(tracker,)) for _ in range(2)]
        for poller in pollers:
            poller.start()
        with metrics.open("a", encoding="utf-8") as file:
            for number in range(1, 21):
                line = json.dumps(step(number)) + "\n"
                for part in (line[:15], line[15:]):
                    file.write(part)
                    file.flush()
                    time.sleep(0.005)
        stop.set()
        for poller in pollers:
            poller.join()
        tracker.mirror_training(1, metrics)
    assert only(tmp_path).column("train/step") == list(range(1, 21))


def test_none_does_nothing_at_all(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    off = dataclasses.replace(config, tracking=dataclasses.replace(config.tracking, mode=TrackingMode.NONE))
    monkeypatch.setitem(sys.modules, "wandb", None)
    metrics = steps(tmp_path / "m.jsonl", [step(1)])
    with Tracker(off, tmp_path, "x") as tracker:
        tracker.mirror_training(1, metrics)
        tracker.log_scores([FakeScore("es", 0, 0.4)])
        tracker.log_pairs(1, tmp_path / "none", tmp_path / "none")
    assert [p.name for p in tmp_path.iterdir()] == ["m.jsonl"]


@pytest.mark.parametrize("broken", ["init", "log", "finish"])
def test_a_failing_wandb_is_one_warning(
    config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    class FakeRun:
        step, offline, summary = 0, True, dict[str, float]()
        define_metric = log = finish = staticmethod(lambda *args, **kwargs: None)

    fake = FakeRun()
    monkeypatch.setattr(fake, broken, fail) if broken != "init" else None
    monkeypatch.setattr("wandb.init", fail if broken == "init" else lambda **kwargs: fake)
    metrics = steps(tmp_path / "m.jsonl", [step(1), step(2)])
    with caplog.at_level(logging.WARNING), Tracker(config, tmp_path, "x") as tracker:
        tracker.mirror_training(1, metrics)
        tracker.log_scores([FakeScore("es", 0, 0.4)])
    assert len(caplog.records) == 1
    assert "no route to host" in caplog.text
    assert (tmp_path / "wandb" / "cursor.json").exists() == (broken == "finish")


def test_out_of_reach_falls_back_to_offline(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import wandb

    from lidr.tracking import tracker as module

    modes: list[str] = []
    real = wandb.init

    def unreachable(**kwargs: Any) -> Any:
        modes.append(kwargs["mode"])
        if kwargs["mode"] == "online":
            raise wandb.errors.CommError("timed out")
        return real(**kwargs)

    monkeypatch.setattr(wandb, "init", unreachable)
    with caplog.at_level(logging.WARNING):
        mirror = Mirror(module._start(config, tmp_path, "far"), "online")
        mirror.finish(0)
    assert modes == ["online", "offline"]
    assert "out of reach" in caplog.text
    assert [p.name for p in (tmp_path / "wandb").glob("offline-run-*-far")]
