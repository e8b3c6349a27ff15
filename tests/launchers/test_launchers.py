"""Sweeps through launchers and sweepers of other packages, as a user types them: ``make launchers``."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lidr.store import find_runs

SMALL = ["experiment=lab", "iterations=1", "prompts.limit=4", "languages.non_dominant=[es]", "languages.unseen=[]",
         "evaluation.lab.prompts.limit=4", "tracking=none"]  # fmt: skip


def needs(module: str, extra: str) -> pytest.MarkDecorator:
    absent = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(absent, reason=f"needs pip install 'lidr[{extra}]', as make launchers does")


def lidr(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lidr", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs("submitit", "submitit")
def test_submitit_runs_what_is_missing_and_a_failed_job_stops_no_other(tmp_path: Path) -> None:
    local = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"]
    grid = ["run", "-m", *SMALL, "engine.sampling.max_new_tokens=64,1", f"paths.outputs={tmp_path}", *local]
    first = lidr(*grid)
    assert "1 ok, 1 failed, 0 skipped" in first.stdout, first.stderr
    assert first.returncode == 1
    assert "Traceback" not in first.stderr
    (failed,) = (run for run in find_runs(tmp_path) if run.state() == "failed")
    assert "passed the filters" in (failed.root / "log.txt").read_text()
    submitted = {path.name for path in (tmp_path / "lab" / ".submitit").iterdir()}
    second = lidr(*grid)
    assert "0 ok, 1 failed, 1 skipped" in second.stdout
    again = {path.name for path in (tmp_path / "lab" / ".submitit").iterdir()} - submitted
    assert len(again) == 1, "only the missing job is submitted"


@needs("submitit", "submitit")
def test_a_job_that_the_system_kills_leaves_a_summary(tmp_path: Path) -> None:
    grid = ["run", "-m", *SMALL, "prompts.limit=600", "seed=0,1", "hydra/launcher=submitit_local"]
    command = [sys.executable, "-m", "lidr", *grid, f"paths.outputs={tmp_path}"]
    sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (running := [r for r in find_runs(tmp_path) if r.state() == "running"]):
        assert sweep.poll() is None
        time.sleep(0.1)
    pid = running[0].status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    shown, errors = sweep.communicate()
    assert sweep.returncode == 1
    assert "Traceback" not in errors
    assert "ended early" in errors
    assert "Traceback" in (tmp_path / "lab" / "launcher.log").read_text()
    assert "1 ok, 1 failed, 0 skipped" in shown, "the other one is waited for"


@needs("optuna", "optuna")
def test_optuna_proposes_runs_and_goes_on_with_them(tmp_path: Path) -> None:
    search = ["run", "sweep=search", *SMALL, "hydra.sweeper.n_trials=3", f"paths.outputs={tmp_path}"]
    first = lidr(*search)
    assert "3 ok, 0 failed, 0 skipped" in first.stdout, first.stderr
    runs = find_runs(tmp_path)
    assert len({run.root for run in runs}) == 3
    best = yaml.safe_load((tmp_path / "lab" / "optimization_results.yaml").read_text())
    assert set(best["best_params"]) == {"objective.beta", "training.lr"}
    scores = [_accuracy(run.root) for run in runs]
    assert best["best_value"] == pytest.approx(max(scores))
    shared = [run.root / "iteration-1" / "pairs" / "stage.json" for run in runs]
    assert sum(json.loads(path.read_text())["taken_from"] is None for path in shared) == 1
    second = lidr(*search)
    assert "0 ok, 0 failed, 3 skipped" in second.stdout, second.stderr
    assert len(find_runs(tmp_path)) == 3


def _accuracy(root: Path) -> float:
    scores = json.loads((root / "results.json").read_text())["scores"]
    (found,) = (
        s["value"]
        for s in scores
        if (s["language"], s["metric"], s["iteration"]) == ("mean non-dominant", "accuracy", 1)
    )
    return float(found)
