"""What several tests of engines share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lidr.engines import vllm_setup
from tests import tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's, random and tiny."""
    return tiny.save(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> str:
    """Where the tiny model's tokenizer lies."""
    return str(folder)


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between attempts at a server that fails."""
    monkeypatch.setattr("lidr.engines.endpoint_asking.FIRST_WAIT", 0.002)


@pytest.fixture
def no_vllm_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what this process was given nor what a test leaves behind."""
    names = [n for n in os.environ if n.startswith("VLLM_")]
    for name in (*names, *vllm_setup._ENVIRONMENT, "LOCAL_RANK", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
