"""``lidr report DIR...``: tables, figures and a page of one run, or of several side by side; or a W&B workspace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lidr.commands.folders import runs_in
from lidr.console import console
from lidr.errors import ConfigError, LidrError


def report(folders: Sequence[str], out: str | None, *, wandb: bool = False, group: str = "") -> int:
    """Writes the report, or saves a W&B workspace for the runs, and prints where.

    Args:
        folders: runs, or folders of runs.
        out: folder of the report.
        wandb: whether to save a workspace instead.
        group: its configuration keys to group by, with commas between them.

    Raises:
        ConfigError: options that do not go together, no key, wandb-workspaces is missing, or an unknown key.
        LidrError: a folder holds no run, or W&B does not take the workspace.
    """
    if wandb and out is not None:
        raise _apart("--out is where a report is written, --wandb saves a workspace in W&B", "leave one out")
    if group and not wandb:
        raise _apart("--group is how a workspace groups the runs", "add --wandb")
    if wandb:
        return _workspace(folders, [key for key in group.split(",") if key])
    return _report(folders, out)


def _apart(what: str, instead: str) -> ConfigError:
    return ConfigError([LidrError(what, where="lidr report", instead=instead)])


def _report(folders: Sequence[str], out: str | None) -> int:
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


def _workspace(folders: Sequence[str], group: Sequence[str]) -> int:
    from lidr.tracking.choosing import require_key
    from lidr.tracking.workspace import save_workspace

    require_key("lidr report --wandb")
    address = save_workspace(runs_in(folders), group)
    console().print(f"workspace  {address}", highlight=False, soft_wrap=True)
    return 0
