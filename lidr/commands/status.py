"""``lidr status DIR``: how far every run below a folder is, once or as it goes on."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

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
_OPEN = ("running", "to do")


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
        terminal.print(_table(rows))
        terminal.print(_counts(rows), highlight=False)
    return 1 if any(row.state in ("failed", "killed") for row in rows) else 0


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


def _screen(rows: list[Row]) -> Table:
    screen = Table.grid()
    screen.add_row(_table(rows))
    screen.add_row(_counts(rows))
    return screen


def _table(rows: list[Row]) -> Table:
    table = Table("run", "state", "stages", "now", "written", "", box=None, header_style="bold")
    for row in rows:
        state = Text(row.state, style=_STYLES.get(row.state, ""))
        stages = f"{row.finished} of {row.stages}"
        name = f"{row.label}\n{row.root}" if row.label else row.root
        table.add_row(inert(name), state, stages, row.now, row.age, inert(row.note))
    return table


def _counts(rows: list[Row]) -> str:
    counts = Counter(row.state for row in rows)
    return ", ".join(f"{counts[state]} {state}" for state in _STYLES if counts[state])
