from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lidr.config import RunConfig
from tests.estimate import make

Make = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prompts and a model."""
    folder = tmp_path_factory.mktemp("world")
    make.prompts(folder / "prompts")
    make.model(folder / "model")
    return folder


@pytest.fixture
def tiny_run(world: Path, tmp_path: Path) -> Make:
    """Makes configurations of a run in an outputs folder of its own."""
    return lambda *overrides: make.config(world, tmp_path / "outputs", *overrides)
