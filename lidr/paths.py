"""Where a configured model lies, and what names its content."""

from __future__ import annotations

import os
from pathlib import Path

from lidr.config import ModelConfig
from lidr.hashing import fingerprint

BUILTIN_LAB = "builtin:lab"


def resolve_model(path: str) -> str:
    """The folder or hub id of a configured model; ``builtin:lab`` is the lab's M_0."""
    if path == BUILTIN_LAB:
        from lidr.lab.model import model_path

        return str(model_path())
    return os.path.expanduser(path) if path.startswith("~") else path  # noqa: PTH111  (Path raises for ~nobody)


def model_content(model: ModelConfig) -> str:
    """What names a configured model's content: its folder's bytes, or id and revision where it lies on a hub."""
    folder = Path(resolve_model(model.path))
    return fingerprint(folder) if folder.is_dir() else f"{model.path}@{model.revision or 'default'}"
