"""``lidr table NAME [DIR...]``: a table of the paper beside one's own numbers; ``--list``: what there is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lidr.console import console as inert_console
from lidr.errors import LidrError

if TYPE_CHECKING:
    from lidr.report.grids import Grid

_WIDTH = 160  # where the output is no terminal: a block of 10 languages


def table(options: argparse.Namespace) -> int:
    """Prints and writes a table, or lists them.

    Raises:
        LidrError: there is no such table, or what is named holds no score for it.
    """
    if options.list:
        from lidr.commands.table_list import list_tables

        return list_tables(options.name, options.scale, options.data)
    if not options.name:
        raise LidrError("names no table", where="lidr table", instead="lidr table --list shows all")
    return _show(options)


def outputs() -> Path:
    """The folder of all runs, as the configuration says it."""
    from lidr.compose import compose_run

    return Path(compose_run([]).paths.outputs)


def console() -> Console:
    """A terminal's own width, else one that is wide enough."""
    plain = inert_console()
    return plain if plain.is_terminal else inert_console(width=max(plain.width, _WIDTH))


def _show(options: argparse.Namespace) -> int:
    from lidr.tables import Scale, build_table, read_table
    from lidr.tables.calibrations import calibrations, is_of_calibrations
    from lidr.tables.editions import found_in, named

    spec = read_table(options.name)
    scale = Scale(options.scale) if options.scale else None
    folders = [Path(folder) for folder in options.runs]
    runs = outputs()
    if is_of_calibrations(spec):
        edition = calibrations(spec, folders[0] if folders else runs, scale)
    elif folders:
        edition = named(spec, folders, scale, options.judge)
    else:
        edition = found_in(spec, runs, scale, options.judge)
    suffix = "-lab" if edition.scale is Scale.LAB else ""
    out = Path(options.out) if options.out else runs / "tables" / f"{spec.name}{suffix}"
    result = build_table(edition, out)
    screen = console()
    for block in result.blocks:
        screen.print(printed(block), "")
    for rows, command in result.missing:
        say(screen, f"missing {rows}: {command}")
    if result.missing and spec.needs and edition.scale is Scale.PAPER:
        say(screen, f"        and {spec.needs}")
    for run in edition.runs:
        say(screen, f"run     {run.root}")
    for root in edition.passed_over:
        say(screen, f"without {root}: no score for this table at scale={edition.scale}")
    if not spec.experiments:
        say(screen, "run     none: no experiment fills this table yet")
    elif is_of_calibrations(spec):
        say(screen, f"judges  {', '.join(edition.scales) or f'none is calibrated below {runs}'}")
    elif not folders and not edition.runs:
        say(screen, f"run     none: no finished run of {', '.join(spec.experiments)} below {runs}")
    say(screen, f"table   {result.paths.page}")
    return 0


def say(screen: Console, line: str) -> None:
    """A plain line, not broken."""
    screen.print(line, highlight=False, soft_wrap=True, markup=False)


def printed(block: Grid) -> Table:
    """A block for the terminal."""
    made = Table(
        title=escape(block.title),
        caption=escape(block.note),
        box=None,
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
        header_style="bold",
    )
    for place, name in enumerate(block.header):
        made.add_column(escape(name), justify="left" if place < 2 else "right", no_wrap=place > 0)
    for row in block.rows:
        made.add_row(*map(escape, row))
    return made
