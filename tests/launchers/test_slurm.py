"""SLURM itself: two nodes that this machine plays, their sweeps and their training: ``make slurm``.

Without a database SLURM keeps no account of jobs that are gone, by which submitit sees that one was cancelled: what
follows from that is in `tests/commands/test_grid.py`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lidr.store import RunDirectory, find_runs
from tests.launchers.cluster import cluster, missing
from tests.launchers.test_launchers import SMALL, needs

pytestmark = [
    pytest.mark.skipif("LIDR_SLURM" not in os.environ, reason="a cluster on this machine: make slurm"),
    pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}"),
    pytest.mark.enable_socket,
]
SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=debug"]
TRAINED = ["experiment=lab", "iterations=1", "prompts.limit=60", "languages.unseen=[]", "evaluation=[]",
           "tracking=none"]  # fmt: skip
NODES = ["processes=separate", "trainer.nodes=2", "trainer.devices=1", "trainer.accelerator=cpu",
         "trainer.precision=fp32"]  # fmt: skip


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with cluster(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lidr", "run", *arguments]


def lidr(slurm: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), env=slurm, capture_output=True, text=True, check=False)


@needs("submitit", "submitit")
def test_a_sweep_is_jobs_and_a_failed_one_stops_no_other(slurm: dict[str, str], tmp_path: Path) -> None:
    grid = ["-m", *SMALL, "engine.sampling.max_new_tokens=64,1", f"paths.outputs={tmp_path}", *SLURM]
    first = lidr(slurm, *grid)
    assert "1 ok, 1 failed, 0 skipped" in first.stdout, first.stderr
    assert "Traceback" not in first.stderr
    assert "0 ok, 1 failed, 1 skipped" in lidr(slurm, *grid).stdout


@needs("submitit", "submitit")
def test_jobs_go_on_without_the_command_and_the_same_command_waits_for_them(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    grid = ["-m", *SMALL, "prompts.limit=600", "seed=0,1", f"paths.outputs={tmp_path}", *SLURM]
    sweep = subprocess.Popen(
        command(*grid), env=slurm, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while sum(run.state() == "running" for run in find_runs(tmp_path)) < 2:
        assert sweep.poll() is None
        time.sleep(0.1)
    sweep.send_signal(signal.SIGINT)
    _, said = sweep.communicate()
    assert sweep.returncode == 130
    assert "goes on; scancel" in said
    again = lidr(slurm, *grid)
    assert "2 jobs are run by other processes: waiting for them" in again.stderr
    assert "2 ok, 0 failed, 0 skipped" in again.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """The curve of one process."""
    outputs = tmp_path_factory.mktemp("alone")
    done = subprocess.run(command(*TRAINED, f"paths.outputs={outputs}"), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return curve(outputs)


def curve(outputs: Path) -> list[dict[str, float]]:
    (run,) = find_runs(outputs)
    return [json.loads(line) for line in (run.root / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_nodes_train_as_one_process(
    strategy: str, slurm: dict[str, str], alone: list[dict[str, float]], tmp_path: Path
) -> None:
    """As the script of docs/distributed.md, also where it asks for more tasks than there are processes."""
    words = command(*TRAINED, *NODES, f"trainer={strategy}", f"paths.outputs={tmp_path}")
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH --ntasks=4\n{shlex.join(words)}\n")
    done = subprocess.run(["sbatch", "--wait", f"--output={tmp_path}/said", script], env=slurm, check=False)
    said = (tmp_path / "said").read_text()
    assert done.returncode == 0, said
    assert "requeue" not in said
    assert "Initializing" not in said
    shared = curve(tmp_path)
    assert [step["step"] for step in shared] == [step["step"] for step in alone]
    for ours, one in zip(shared, alone, strict=True):
        assert ours["train/loss"] == pytest.approx(one["train/loss"], abs=1e-5)


def test_a_killed_process_of_a_node_is_named_and_the_same_job_goes_on(
    slurm: dict[str, str], tmp_path: Path
) -> None:
    words = command(*TRAINED, *NODES, "trainer=ddp", "prompts.limit=300", f"paths.outputs={tmp_path}")
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\n#SBATCH --nodes=2\n{shlex.join(words)}\n")
    start = ["sbatch", "--wait", f"--output={tmp_path}/said-%j", str(script)]
    job = subprocess.Popen(start, env=slurm, stdout=subprocess.DEVNULL)
    victim = _worker(tmp_path)
    os.kill(victim, signal.SIGKILL)
    assert job.wait() != 0
    (said,) = (path.read_text() for path in tmp_path.glob("said-*"))
    assert re.search(r"task \d: Killed", said), "srun's own line"
    # srun's exit code is the largest: of the process that was killed, or of the one that it ended for that
    ended = r"the process of iteration-1/training ended by signal SIG(KILL|TERM)"
    assert re.search(ended, " ".join(said.split()))
    assert subprocess.run(start, env=slurm, check=False).returncode == 0
    (run,) = find_runs(tmp_path)
    assert run.state() == "done"


def _worker(outputs: Path) -> int:
    """The process id of the second node's process, once a step has been made."""
    end = time.monotonic() + 120
    while not any(map(_has_trained, find_runs(outputs))):
        assert time.monotonic() < end
        time.sleep(0.2)
    listed = subprocess.run(
        ["pgrep", "-f", f"^{sys.executable} -m lidr.processes {outputs}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return max(map(int, listed.stdout.split()))


def _has_trained(run: RunDirectory) -> bool:
    curve = run.root / "iteration-1" / "training" / "metrics.jsonl"
    return curve.exists() and curve.stat().st_size > 0
