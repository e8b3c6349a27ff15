"""What tests of lm-eval's tasks share."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_HUB_OFFLINE and HF_DATASETS_OFFLINE say, also where the libraries were imported before."""
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    if importlib.util.find_spec("datasets") is not None:
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
