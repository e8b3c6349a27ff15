"""``lidr status DIR``: how far every run below a folder is, once or as it goes on."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lidr.commands.overview import Row, overview
from lidr.console import console
from lidr.errors import LidrError
from lidr.printable import inert
from lidr.store import find_runs

EVERY_SECONDS = 2.0
_STYLES = {"done": "green", "failed": "bold red", "killed": "bold red", "running": "cyan", "to do": "dim"}
_OPEN, _ENDED = ("running", "to do"), ("failed", "killed")


def status(folder: str, watch: bool = False, every: float = EVERY_SECONDS) -> int:
    """Prints a row a run; 1 where one failed or was killed.

    Args:
        folder: a run, or a folder of runs.
        watch: whether to show it anew until no run is under way or to do.
        every: seconds between two looks.

    Raises:
        LidrError: there is no run at or below the folder.
    """
    rows = _rows(folder)
    terminal = console()
    if watch:
        rows = _watch(folder, rows, every)
    else:
        terminal.print(_screen(rows), soft_wrap=False)
    return 1 if any(row.state in _ENDED for row in rows) else 0


def _rows(folder: str) -> list[Row]:
    runs = find_runs(Path(folder))
    if not runs:
        raise LidrError(
            "no run at or below this folder", where=folder, instead="a folder such as outputs/lab"
        )
    return overview(runs, time.time())


def _watch(folder: str, rows: list[Row], every: float) -> list[Row]:
    """Until all are at rest, or the person at the keyboard has seen enough."""
    with Live(_screen(rows), console=console(), auto_refresh=False) as live:
        try:
            while any(row.state in _OPEN for row in rows):
                time.sleep(every)
                rows = _rows(folder)
                live.update(_screen(rows), refresh=True)
        except KeyboardInterrupt:
            pass
    return rows


def _screen(rows: list[Row]) -> Group:
    """A row a run, a line for each that needs to be looked at, and the counts."""
    table = Table(box=None, header_style="bold")
    table.add_column("run", no_wrap=True, overflow="fold")
    for name in ("state", "stages", "now", "written"):
        table.add_column(name)
    for row in rows:
        state = Text(row.state, style=_STYLES.get(row.state, ""))
        waits = f"\n{row.note}" if row.state == "running" and row.note else ""
        label = Text(inert(row.label or row.root))
        table.add_row(label, state, f"{row.finished}/{row.stages}", inert(row.now + waits), row.age)
    look = [Text(inert(f"{r.state}  {r.root}: {r.note or r.now}")) for r in rows if r.state in _ENDED]
    return Group(table, *look, Text(_counts(rows)))


def _counts(rows: list[Row]) -> str:
    counts = Counter(row.state for row in rows)
    return ", ".join(f"{counts[state]} {state}" for state in _STYLES if counts[state])
