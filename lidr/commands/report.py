"""``lidr report DIR...``: tables, figures and a page of one run, or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lidr.console import console
from lidr.errors import LidrError
from lidr.store import find_runs


def report(folders: Sequence[str], out: str | None) -> int:
    """Writes the report and prints where.

    Raises:
        LidrError: a folder holds no run.
    """
    from lidr.report import build_report, seed_tables

    runs: list[Path] = []
    for folder in folders:
        found = [run.root for run in find_runs(Path(folder))]
        if not found:
            raise LidrError(
                "no run at or below this folder", where=folder, instead="a folder such as outputs/lab"
            )
        runs += [root for root in found if root not in runs]
    default = runs[0] / "report" if len(runs) == 1 else Path("report")
    paths = build_report(runs, Path(out) if out else default)
    terminal = console()
    for table in seed_tables(runs):
        terminal.print(table, "")
    for name, path in (("report", paths.markdown), ("page", paths.page)):
        terminal.print(f"{name:<8}{path}", highlight=False, soft_wrap=True)
    return 0
