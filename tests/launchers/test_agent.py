"""The example of a W&B sweep agent: what the agent types is a command that works, and its run is the sweep's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lidr.compose import compose_run, config_folder
from tests.tracking.wandb_file import stored_runs

FILE = config_folder("sweeps") / "wandb_agent.yaml"
SMALL = ["iterations=1", "prompts.limit=4", "evaluation.lab.prompts.limit=4", "languages.non_dominant=[es]",
         "languages.unseen=[]", "tracking=offline"]  # fmt: skip


def spec() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return values


def typed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, values: dict[str, float]
) -> tuple[list[str], dict[str, str]]:
    """What W&B's own agent would start for proposed values, and with which variables."""
    from wandb import wandb_agent

    started: list[tuple[list[str], dict[str, str]]] = []

    class Process:
        def __init__(self, *, env: dict[str, str], command: list[str], **_: object) -> None:
            started.append((command, env))

    monkeypatch.chdir(folder)
    monkeypatch.setattr(wandb_agent, "AgentProcess", Process)
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(name, "")  # the agent sets them, and the test takes them back
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    agent = wandb_agent.Agent.__new__(wandb_agent.Agent)
    agent.__dict__.update(
        _in_jupyter=False, _function=None, _sweep_command=spec()["command"], _run_processes={}, _forward_signals=False,
        _last_report_time=None, _log=[],
    )  # fmt: skip
    agent._command_run(
        {"run_id": "trial7", "program": "lidr", "args": {k: {"value": v} for k, v in values.items()}}
    )
    ((command, env),) = started
    return command, env


PROPOSED = {"objective.beta": 0.0731, "training.lr": 6.1e-05}


def test_the_agents_command_is_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command, env = typed(monkeypatch, tmp_path, PROPOSED)
    assert command == ["lidr", "run", "experiment=lab", "objective.beta=0.0731", "training.lr=6.1e-05"]
    assert env["WANDB_RUN_ID"] == "trial7"
    config = compose_run(command[2:])
    assert (config.objective.beta, config.training.lr) == (0.0731, 6.1e-05)
    assert set(spec()["parameters"]) == set(PROPOSED)


@pytest.mark.skipif("LIDR_LAUNCHERS" not in os.environ, reason="a whole run: make launchers")
def test_its_run_is_the_sweeps_and_has_the_metric(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command, env = typed(monkeypatch, tmp_path, PROPOSED)
    done = subprocess.run(
        [sys.executable, "-m", *command, *SMALL, f"paths.outputs={tmp_path}/outputs"],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (root,) = (p.parent for p in tmp_path.rglob("status.json"))
    (stored,) = stored_runs(root)
    assert stored.id == "trial7"
    assert stored.config["objective.beta"] == 0.0731
    assert len(stored.column(spec()["metric"]["name"])) == 2, "M_0 and M_1"
