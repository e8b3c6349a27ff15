"""``lidr report DIR...``: tables, figures and a page of one run, or of several side by side."""

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
    from lidr.report import build_report, seed_tables, sweep_tables

    runs = runs_in(folders)
    default = runs[0] / "report" if len(runs) == 1 else Path("report")
    paths = build_report(runs, Path(out) if out else default)
    terminal = console()
    for table in (*sweep_tables(runs), *seed_tables(runs)):
        terminal.print(table, "")
    for name, path in (("report", paths.markdown), ("page", paths.page)):
        terminal.print(f"{name:<8}{path}", highlight=False, soft_wrap=True)
    return 0
