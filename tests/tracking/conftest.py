from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lidr.config import RunConfig, identity, read_config
from lidr.tracking import Tracker

from .small import make_small_run
from .wandb_server import KEY


@pytest.fixture
def fresh_service() -> Iterator[None]:
    """W&B's service takes the id of a run that failed in it as one in use: the next test starts another."""
    yield
    import wandb

    wandb.teardown()


@pytest.fixture(autouse=True)
def quiet_wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("WANDB_") and n != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)  # the service that runs is W&B's own to forget
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_X_DISABLE_STATS", "true")
    monkeypatch.setenv("WANDB_DISABLE_GIT", "true")


@pytest.fixture(scope="session")
def stored_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "run"
    make_small_run(folder)
    return folder


@pytest.fixture
def run(stored_run: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    folder = tmp_path / "outputs" / "run"
    shutil.copytree(stored_run, folder)
    return folder


@pytest.fixture
def config(run: Path) -> RunConfig:
    return read_config(run / "config.yaml")


def point_to(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """W&B reads the address of its server once in a process."""
    import wandb

    wandb.teardown()
    monkeypatch.setenv("WANDB_BASE_URL", url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)


def mirrored(run: Path, config: RunConfig, *, upload: bool = False) -> Tracker:
    """Mirrors all that a run has."""
    with Tracker(config, run, identity(config), upload=upload) as tracker:
        tracker.mirror_all()
    return tracker
