from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lidr.config import RunConfig, identity, read_config
from lidr.stages import stages
from lidr.store import RunDirectory
from lidr.tracking import Tracker
from tests.report.runs import make_run

SMALL = ("languages.non_dominant=[es]", "languages.unseen=[]", "tracking=offline", "tracking.sample_pairs=0")


@pytest.fixture(autouse=True)
def quiet_wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_X_DISABLE_STATS", "true")
    monkeypatch.setenv("WANDB_DISABLE_GIT", "true")


@pytest.fixture(scope="session")
def stored_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two iterations of 40 steps: 85 rows of history."""
    folder = tmp_path_factory.mktemp("stored") / "run"
    config = make_run(folder, [*SMALL, "tracking.tags=[night]"], limit=4)
    run = RunDirectory(folder)
    run.set_status("done")
    for stage in stages(config):
        run.folder(stage).mkdir(exist_ok=True)
        run.finish(stage, {}, {}, [], {}, 1.0)
    return folder


@pytest.fixture
def run(stored_run: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    folder = tmp_path / "outputs" / "run"
    shutil.copytree(stored_run, folder)
    return folder


Mirrored = Callable[..., Tracker]


@pytest.fixture
def config(run: Path) -> RunConfig:
    return read_config(run / "config.yaml")


def mirrored(run: Path, config: RunConfig, *, upload: bool = False) -> Tracker:
    """Mirrors all that a run has."""
    with Tracker(config, run, identity(config), upload=upload) as tracker:
        tracker.mirror_all()
    return tracker
