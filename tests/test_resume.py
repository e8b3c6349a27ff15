"""A run killed with SIGKILL at any stage, started again, ends in the same files as one that was never killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
    "while answering": "iteration-1/responses/de.jsonl",
    "while translating": "iteration-1/translations/en-de.jsonl",
    "while pairing": "iteration-1/translations/stage.json",
    "while training": "iteration-2/training/metrics.jsonl",
    "while evaluating": "iteration-2/evaluation/lab/de.jsonl",
}
TIMES = {"seconds", "reference_seconds", "updated", "pid", "check"}


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
        if any(p.stat().st_size for p in outputs.glob(f"*/*/{appears}")):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.002)
    return False


def without_times(value: object) -> object:
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMES}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def content(run: Path) -> dict[str, object]:
    """Every file a run leaves but logs, locks and what was measured; of JSON files all but the times."""
    files: dict[str, object] = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        name = str(path.relative_to(run))
        if path.name in ("log.txt", "timing.jsonl", "choices.json", "config.yaml") or path.suffix in (
            ".lock",
            ".pdf",
        ):
            continue
        files[name] = (
            without_times(json.loads(path.read_bytes())) if path.suffix == ".json" else path.read_bytes()
        )
    return files


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return content(finish(tmp_path_factory.mktemp("whole") / "outputs", "processes=inline"))


@pytest.mark.xdist_group("resume")
@pytest.mark.parametrize(
    ("when", "processes"), [*((when, "inline") for when in KILLS), ("while training", "separate")]
)
def test_killed_and_resumed_equals_uninterrupted(
    uninterrupted: dict[str, object], tmp_path: Path, when: str, processes: str
) -> None:
    outputs = tmp_path / "outputs"
    assert kill_when(start(outputs, f"processes={processes}"), outputs, KILLS[when])
    resumed = content(finish(outputs, f"processes={processes}"))
    assert resumed.keys() == uninterrupted.keys()
    assert [name for name in resumed if resumed[name] != uninterrupted[name]] == []
