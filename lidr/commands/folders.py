"""From the folders a user names to the runs in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lidr.errors import LidrError
from lidr.store import find_runs


def runs_in(folders: Sequence[str]) -> list[Path]:
    """Every run at or below some folders that has begun, each once, in order.

    Raises:
        LidrError: a folder holds none.
    """
    runs: list[Path] = []
    for folder in folders:
        found = [run.root for run in find_runs(Path(folder)) if run.status().status != "to do"]
        if not found:
            raise LidrError(
                "no run at or below this folder", where=folder, instead="a folder such as outputs/lab"
            )
        runs += [root for root in found if root not in runs]
    return runs
