"""The report of one run, or of several side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lidr.errors import LidrError
from lidr.files import write_text
from lidr.report import figures, writers
from lidr.report.frame import tidy
from lidr.report.page import write_page
from lidr.report.runs import Run, read_runs
from lidr.report.sections import READING, SYNTHETIC, Section, is_zero, sections
from lidr.report.sweep import find_sweep
from lidr.report.sweep_figures import draw_sweep
from lidr.report.writers import escape_markdown, markdown


@dataclass(frozen=True)
class ReportPaths:
    """What a report wrote."""

    markdown: Path
    page: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]


def build_report(run_dirs: Sequence[Path], out: Path) -> ReportPaths:
    """Writes ``report.md``, ``report.html``, ``tables/*.{md,csv,tex}`` and ``figures/*.{png,pdf}``.

    The same runs give the same bytes. Numbers that are not there yet are dashes.

    Args:
        run_dirs: one run, or several to compare.
        out: the folder to write to.

    Raises:
        LidrError: there is no run, or a folder holds none.
    """
    if not run_dirs:
        raise LidrError("no run to report on", where=str(out), instead="name a run folder")
    runs = read_runs(run_dirs)
    frame = tidy(runs)
    tables, drawn = out / "tables", out / "figures"
    for folder in (tables, drawn):
        folder.mkdir(parents=True, exist_ok=True)
    sweep = find_sweep(runs)
    figure_paths = figures.draw(runs, frame, drawn) + (draw_sweep(sweep, drawn) if sweep else [])
    parts = list(sections(runs, frame, figure_paths, sweep))
    table_paths = [path for part in parts for grid in part.grids for path in writers.write(grid, tables)]
    tidy_path = tables / "scores.csv"
    write_text(tidy_path, writers.frame_to_csv(frame), sync=False)
    text = "\n".join(_lines(runs, parts))
    report, page = out / "report.md", out / "report.html"
    write_text(report, text, sync=False)
    write_page(page, runs, frame, parts)
    return ReportPaths(report, page, (tidy_path, *table_paths), tuple(figure_paths))


def _lines(runs: Sequence[Run], parts: Sequence[Section]) -> Iterator[str]:
    names = ", ".join(dict.fromkeys(run.config.name for run in runs))
    yield f"# Report: {escape_markdown(names)}\n"
    if any(run.has_lab for run in runs):
        yield f"> {SYNTHETIC}\n"
    yield f"{READING}\n"
    for section in parts:
        yield f"## {escape_markdown(section.title)}\n"
        for picture in section.figures:
            caption = next((text for part, text in figures.captions() if part in picture.name), "")
            yield f"![{escape_markdown(picture.stem)}](figures/{picture.name})\n"
            yield f"*{caption}*\n"
        for grid in section.grids:
            if grid.title != section.title:
                yield f"### {escape_markdown(grid.title)}\n"
            yield "0 in every cell.\n" if is_zero(grid) else markdown(grid)
