"""A table written out: a page, a grid a block in Markdown, LaTeX and CSV, the tidy frame, and figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lidr.files import write_text
from lidr.report import writers
from lidr.report.grids import Grid
from lidr.report.stages import settings_grid
from lidr.report.writers import escape_markdown, markdown
from lidr.tables import figures, grids
from lidr.tables.editions import Edition, Scale
from lidr.tables.frame import tidy

_SYNTHETIC = (
    "Ours come from the **synthetic lab world**, a miniature in which every answer can be checked. The paper's numbers "
    "stand beside them for reading; the two are not to be compared, so there is no difference."
)


@dataclass(frozen=True)
class TablePaths:
    """What was written."""

    page: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]


@dataclass(frozen=True)
class TableResult:
    """A table in memory, and where it was written.

    blocks: for a terminal. missing: rows with a missing cell, and the command that fills it.
    """

    edition: Edition
    frame: pd.DataFrame
    blocks: tuple[Grid, ...]
    missing: tuple[tuple[str, str], ...]
    paths: TablePaths


def build_table(edition: Edition, out: Path) -> TableResult:
    """Writes ``<table>.md``, ``tables/*.{md,tex,csv}`` and ``figures/*.{png,pdf}``; the same runs give the same bytes.

    Args:
        edition: the table and its runs, by `lidr.tables.editions`.
        out: the folder to write to.

    Raises:
        LidrError: runs that differ in more than their seed could stand in one row.
    """
    frame = tidy(edition)
    missing = grids.missing(frame)
    tables, drawn = out / "tables", out / "figures"
    tables.mkdir(parents=True, exist_ok=True)
    if frame["ours"].notna().any():
        drawn.mkdir(exist_ok=True)
    written = list(grids.blocks(edition, frame))
    if missing:
        written.append(grids.missing_grid(edition.table.name, missing, _needs(edition)))
    table_paths = [path for grid in written for path in writers.write(grid, tables)]
    tidy_path = tables / f"{edition.table.name}.csv"
    write_text(tidy_path, writers.frame_to_csv(frame), sync=False)
    figure_paths = figures.draw(edition, frame, drawn)
    page = out / f"{edition.table.name}.md"
    text = "\n".join(_lines(edition, written, figure_paths))
    write_text(page, text, sync=False)
    return TableResult(
        edition=edition,
        frame=frame,
        blocks=tuple(grids.blocks(edition, frame, arms=True)),
        missing=tuple(missing),
        paths=TablePaths(page, (tidy_path, *table_paths), tuple(figure_paths)),
    )


def _needs(edition: Edition) -> str | None:
    return edition.table.needs if edition.scale is Scale.PAPER else None


def _lines(edition: Edition, written: Sequence[Grid], drawn: Sequence[Path]) -> Iterator[str]:
    yield f"# {escape_markdown(edition.table.title)}\n"
    yield f"{escape_markdown(edition.table.about)}\n"
    if edition.scale is Scale.LAB:
        yield f"> {_SYNTHETIC}\n"
    for grid in written:
        yield f"## {escape_markdown(grid.title)}\n"
        for picture in drawn:
            if picture.suffix == ".png" and picture.stem == grid.name:
                yield f"![{escape_markdown(picture.stem)}](figures/{picture.name})\n"
        yield markdown(grid)
    if edition.runs:
        yield "## Runs\n"
        yield markdown(settings_grid(edition.runs))
