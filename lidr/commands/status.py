"""``lidr status DIR``: how far every run below a folder is."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from lidr.config import read_config
from lidr.console import console
from lidr.errors import LidrError
from lidr.stages import stages
from lidr.store import MANIFEST, RunDirectory, find_runs


def status(folder: str) -> int:
    """Prints a row a run; 1 where one failed.

    Raises:
        LidrError: there is no run at or below the folder.
    """
    runs = find_runs(Path(folder))
    if not runs:
        raise LidrError(
            "no run at or below this folder", where=folder, instead="a folder such as outputs/lab"
        )
    table = Table("run", "state", "stages", "now", box=None, header_style="bold")
    states = [run.state() for run in runs]
    for run, state in zip(runs, states, strict=True):
        record = run.status()
        table.add_row(
            str(run.root),
            state,
            _progress(run),
            record.error or (record.stage if state == "running" else "") or "",
        )
    console().print(table)
    return 1 if "failed" in states or "killed" in states else 0


def _progress(run: RunDirectory) -> str:
    plan = stages(read_config(run.root / "config.yaml"))
    finished = sum((run.folder(stage) / MANIFEST).exists() for stage in plan)
    return f"{finished} of {len(plan)}"
