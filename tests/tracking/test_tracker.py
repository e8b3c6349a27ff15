"""Offline runs, read back from W&B's own file; no network."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lidr.compose import compose_run
from lidr.config import RunConfig, TrackingMode
from lidr.tracking import Tracker, score_key
from lidr.tracking.keys import audit_values, training_values
from lidr.tracking.mirror import Mirror, choose_mode
from lidr.tracking.tracker import sample_pairs

from .wandb_file import StoredRun, stored_runs


@dataclass(frozen=True)
class FakeScore:
    language: str
    iteration: int
    value: float | None
    metric: str = "accuracy"
    benchmark: str = "lab"
    low: float | None = 0.1
    high: float | None = 0.9
    n: int = 10


@pytest.fixture(autouse=True)
def quiet_wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_X_DISABLE_STATS", "true")
    monkeypatch.setenv("WANDB_DISABLE_GIT", "true")


@pytest.fixture
def config() -> RunConfig:
    return compose_run(["tracking=offline", "tracking.tags=[night]", "tracking.sample_pairs=2"])


def steps(path: Path, records: Sequence[Mapping[str, Any]], tail: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records) + tail, encoding="utf-8")
    return path


def step(number: int, iteration: int = 1) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "step": number,
        "train/loss": 1.0 / number,
        "train/margin/es": 0.5,
        "seconds": 0.1,
    }


def pairs(folder: Path, count: int = 5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    fields = {
        "language": "es",
        "prompt": "¿x?",
        "rejected": "b",
        "chosen_origin": "en->es",
        "rejected_origin": "es",
    }
    lines = [
        json.dumps({"id": str(i), "chosen": f"a{i}", **fields}, ensure_ascii=False) for i in range(count)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    audit = {
        "kept": count,
        "dropped": {"empty": 1},
        "pairs": [
            {"type": "nl", "language": "es", "kept": count, "on_target": {"chosen": {"rate": None, "on": 4}}}
        ],
        "detector": {"name": "d"},
    }
    (folder / "audit.json").write_text(json.dumps(audit), encoding="utf-8")
    return folder / "pairs.jsonl"


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
    assert run.table("scores")["columns"] == list(
        ("language", "iteration", "benchmark", "metric", "value", "low", "high", "n")
    )
    assert len(run.table("scores")["data"]) == 4
    sample = run.table("samples/iteration-1")
    assert sample["columns"][:3] == ["iteration", "id", "language"]
    assert len(sample["data"]) == 2
    assert sample["data"][0][3] == "¿x?"


def test_a_crashed_run_ends_as_failed_and_the_next_one_is_another_run(
    config: RunConfig, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(RuntimeError, match="out of memory"), Tracker(config, first, "one") as tracker:
        tracker.log_scores([FakeScore("es", 0, 0.4)])
        raise RuntimeError("out of memory")
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
    with pytest.raises(KeyboardInterrupt), Tracker(config, tmp_path, "same") as tracker:
        tracker.log_scores([FakeScore("es", 0, 0.4)])
        tracker.log_pairs(1, path, path.with_name("audit.json"))
        tracker.mirror_training(1, steps(metrics, [step(1), step(2)], tail='{"step": 3, "tra'))
        raise KeyboardInterrupt
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
        step, url, summary = 0, None, dict[str, float]()
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


def test_mode_is_chosen_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mode, reason = choose_mode(TrackingMode.WANDB)
    assert mode == "offline"
    assert "WANDB_API_KEY" in reason
    assert choose_mode(TrackingMode.NONE)[0] is None
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password hidden\n")
    (tmp_path / "netrc").chmod(0o600)
    assert choose_mode(TrackingMode.WANDB)[0] == "online"
    assert choose_mode(TrackingMode.OFFLINE)[0] == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert choose_mode(TrackingMode.WANDB)[0] is None
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert choose_mode(TrackingMode.WANDB)[0] == "offline"
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_API_KEY", "hidden")
    assert choose_mode(TrackingMode.WANDB)[0] == "online"


def test_keys() -> None:
    assert score_key(FakeScore("mean non-dominant", 1, 0.5)) == "eval/lab/mean-non-dominant/accuracy"
    assert score_key(FakeScore("all", 1, 0.5, "imbalance_gap_joint")) == "gap/lab/joint"
    values = training_values(step(3, 2), 2, 3, before=10)
    assert values["train/step_total"] == 13
    assert values["iteration-2/loss"] == values["train/loss"]
    assert "iteration-2/margin/es" not in values
    assert dict(audit_values({"kept": 3, "dropped": {"empty": 1}, "detector": {"name": "x"}})) == {
        "pairs/kept": 3,
        "pairs/dropped/empty": 1,
    }


def test_the_sample_is_the_same_every_time_and_differs_by_iteration(tmp_path: Path) -> None:
    path = pairs(tmp_path, 200)
    first = sample_pairs(path, 10, seed=0, iteration=1)
    assert first == sample_pairs(path, 10, seed=0, iteration=1)
    assert [row[1] for row in first] == sorted((row[1] for row in first), key=int)
    assert [row[1] for row in first] != [row[1] for row in sample_pairs(path, 10, seed=0, iteration=2)]
    assert sample_pairs(path, 0, seed=0, iteration=1) == []
