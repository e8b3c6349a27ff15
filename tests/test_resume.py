"""A run killed with SIGKILL in stage after stage, started again, ends in the same files as one never killed.

Each kind of stage that takes time is killed once, training in both ways to run a stage.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lidr.compose import compose_run
from lidr.loop import run
from tests.torture.kill_checks import content, differences

pytestmark = pytest.mark.xdist_group("resume")
SMALL = [
    "experiment=lab",
    "languages.non_dominant=[es,de]",
    "languages.unseen=[]",
    "prompts.limit=10",
    "evaluation.lab.prompts.limit=4",
    "engine.batch_size=4",
    "training.global_batch=4",
    "training.token_budget=512",
    "training.checkpoint_steps=3",
    "trainer.threads=1",
    "tracking=none",
]
KILLS = {
    "answering": "responses/de.jsonl",
    "translating": "translations/en-de.jsonl",
    "pairing": "translations/stage.json",
    "training": "training/metrics.jsonl",
    "evaluating": "evaluation/lab/de.jsonl",
}


def command(outputs: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "lidr", "run", *SMALL, f"paths.outputs={outputs}", *overrides]


def start(outputs: Path, *overrides: str) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command(outputs, *overrides), stdout=quiet, stderr=quiet, start_new_session=True)


def finish(outputs: Path, *overrides: str) -> Path:
    done = subprocess.run(command(outputs, *overrides), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(outputs.rglob("config.yaml")).parent


def kill_when(process: subprocess.Popen[bytes], outputs: Path, appears: str) -> bool:
    """SIGKILL to the whole group as soon as a file has content; False where the run was over first."""
    while process.poll() is None:
        if any(p.stat().st_size for p in outputs.glob(f"*/*/iteration-2/{appears}")):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.002)
    return False


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of outputs of a run in this process."""
    outputs = tmp_path_factory.mktemp("whole") / "outputs"
    run(compose_run([*SMALL, "processes=inline", f"paths.outputs={outputs}"]))
    return outputs


def before_iteration_2(uninterrupted: Path, outputs: Path) -> None:
    """A copy of its run as it was then."""
    shutil.copytree(uninterrupted, outputs)
    root = next(outputs.rglob("config.yaml")).parent
    for folder in ("iteration-2", "report"):
        shutil.rmtree(root / folder)
    for file in ("results.json", "metrics.jsonl"):
        (root / file).unlink()


@pytest.mark.parametrize(
    ("processes", "kills"),
    [
        ("inline", ["answering", "translating", "pairing", "training", "evaluating"]),
        ("separate", ["training"]),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(
    uninterrupted: Path, tmp_path: Path, processes: str, kills: list[str]
) -> None:
    outputs = tmp_path / "outputs"
    before_iteration_2(uninterrupted, outputs)
    for when in kills:
        assert kill_when(start(outputs, f"processes={processes}"), outputs, KILLS[when]), when
    resumed = content(finish(outputs, f"processes={processes}"))
    whole = content(next(uninterrupted.rglob("config.yaml")).parent)
    assert list(differences(whole, resumed)) == []
