"""Names in a configuration that stand for folders inside the package."""

from __future__ import annotations

import os

BUILTIN_LAB = "builtin:lab"


def resolve_model(path: str) -> str:
    """The folder or hub id of a configured model; ``builtin:lab`` is the lab's M_0."""
    if path == BUILTIN_LAB:
        from lidr.lab.model import model_path

        return str(model_path())
    return os.path.expanduser(path) if path.startswith("~") else path  # noqa: PTH111  (Path raises for ~nobody)
