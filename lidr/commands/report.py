"""``lidr report DIR...``: tables, figures and a page of one run, or of several side by side; or a W&B workspace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lidr.commands.folders import runs_in
from lidr.console import console


def report(folders: Sequence[str], out: str | None) -> int:
    """Writes the report and prints where.

    Raises:
        LidrError: a folder holds no run.
    """
    from lidr.report import build_report, seed_tables

    runs = runs_in(folders)
    default = runs[0] / "report" if len(runs) == 1 else Path("report")
    paths = build_report(runs, Path(out) if out else default)
    terminal = console()
    for table in seed_tables(runs):
        terminal.print(table, "")
    for name, path in (("report", paths.markdown), ("page", paths.page)):
        terminal.print(f"{name:<8}{path}", highlight=False, soft_wrap=True)
    return 0


def workspace(folders: Sequence[str], group: Sequence[str]) -> int:
    """Saves a W&B workspace for the runs and prints where.

    Raises:
        ConfigError: there is no key, wandb-workspaces is missing, or a key to group by is none.
        LidrError: a folder holds no run, or W&B does not take the workspace.
    """
    from lidr.tracking.choosing import require_key
    from lidr.tracking.workspace import save_workspace

    require_key("lidr report --wandb")
    address = save_workspace(runs_in(folders), group)
    console().print(f"workspace  {address}", highlight=False, soft_wrap=True)
    return 0
