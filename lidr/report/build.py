"""The report of one run, or of several side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lidr.errors import LidrError
from lidr.evaluation import PAIRS
from lidr.report import figures, grids, stages, writers
from lidr.report.frame import benchmarks, tidy
from lidr.report.grids import Grid
from lidr.report.runs import Run, read_runs
from lidr.report.seeds import seed_grids, seed_groups
from lidr.report.writers import escape_markdown, markdown

_SYNTHETIC = (
    "These numbers come from the **synthetic lab world**: a miniature in which every answer can be checked. "
    "They show how the method works and compare settings; they say nothing about real language ability."
)
_READING = (
    "A cell is `value [low, high]`: the 95 % percentile bootstrap interval, drawn over problems, each with "
    "all its answers. Differences are paired: both models answer each drawn problem; p is a paired permutation "
    "test's, Holm-adjusted over a table's languages (not over tables). n counts problems. "
    "`mean non-dominant` and `mean unseen` weigh languages equally; the imbalance gap is the dominant score "
    "minus `mean non-dominant`. A dash is a number that is not there. A single run's interval says what other "
    "problems would change, and nothing about other seeds."
)


@dataclass(frozen=True)
class ReportPaths:
    """What a report wrote."""

    markdown: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]


@dataclass(frozen=True)
class _Section:
    title: str
    grids: tuple[Grid, ...]
    figures: tuple[Path, ...] = ()


def build_report(run_dirs: Sequence[Path], out: Path) -> ReportPaths:
    """Writes ``report.md``, ``tables/*.{md,csv,tex}`` and ``figures/*.{png,pdf}``.

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
    figure_paths = figures.draw(runs, frame, drawn)
    sections = list(_sections(runs, frame, figure_paths))
    table_paths = [
        path for section in sections for grid in section.grids for path in writers.write(grid, tables)
    ]
    tidy_path = tables / "scores.csv"
    tidy_path.write_text(writers.frame_to_csv(frame), encoding="utf-8", newline="\n")
    text = "\n".join(_lines(runs, sections))
    report = out / "report.md"
    report.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return ReportPaths(report, (tidy_path, *table_paths), tuple(figure_paths))


def _sections(runs: Sequence[Run], frame: pd.DataFrame, drawn: Sequence[Path]) -> Iterator[_Section]:
    yield _Section("Settings", (stages.settings_grid(runs),))
    for number, group in enumerate(seed_groups(runs), start=1):
        yield _Section(f"Over {len(group)} seeds: {group[0].config.name}", tuple(seed_grids(group, number)))
    for benchmark in benchmarks(runs):
        pictures = tuple(
            p for p in drawn if p.suffix == ".png" and p.name.startswith(f"{figures.slug(benchmark)}-")
        )
        if len(runs) == 1:
            own = tuple(g for g in grids.run_grids(runs[0], frame) if g.name.startswith(f"{benchmark}-"))
            yield _Section(_title(benchmark, runs), own, pictures)
        else:
            side = tuple(
                g for g in grids.comparison_grids(runs, frame) if g.name.startswith(f"compare-{benchmark}-")
            )
            yield _Section(f"{_title(benchmark, runs)}: runs side by side", side, pictures)
    if len(runs) > 1:
        for number, run in enumerate(runs, start=1):
            yield _Section(f"Run {run.label}", tuple(grids.run_grids(run, frame, f"run-{number}-")))
    yield from _stages(runs, frame, drawn)


def _stages(runs: Sequence[Run], frame: pd.DataFrame, drawn: Sequence[Path]) -> Iterator[_Section]:
    rewards = tuple(grids.reward_grids(runs, frame))
    if rewards:
        yield _Section("Do the pairs point at the right answer", rewards)
    audits = tuple(stages.audit_grids(runs))
    if audits:
        yield _Section("What became of the pairs", audits)
    curves = tuple(p for p in drawn if p.name == "training.png")
    yield _Section("Training", (stages.training_grid(runs),), curves)
    examples = tuple(stages.example_grids(runs))
    if examples:
        yield _Section("Pairs to read", examples)


def _title(benchmark: str, runs: Sequence[Run]) -> str:
    kinds = [str(run.config.evaluation[benchmark].kind) for run in runs if benchmark in run.config.evaluation]
    note = " (synthetic lab world)" if "lab" in kinds else ""
    if "@" in benchmark:
        what, _, judge = benchmark.partition("@")
        return f"{what}: agreement of the judges" if judge == "agreement" else f"{what}, judged by {judge}"
    return f"Benchmark {benchmark}{note}" if benchmark != PAIRS else PAIRS


def _lines(runs: Sequence[Run], sections: Sequence[_Section]) -> Iterator[str]:
    names = ", ".join(dict.fromkeys(run.config.name for run in runs))
    yield f"# Report: {escape_markdown(names)}\n"
    if any(run.has_lab for run in runs):
        yield f"> {_SYNTHETIC}\n"
    yield f"{_READING}\n"
    for section in sections:
        yield f"## {escape_markdown(section.title)}\n"
        for picture in section.figures:
            caption = next((text for part, text in figures.captions() if part in picture.name), "")
            yield f"![{escape_markdown(picture.stem)}](figures/{picture.name})\n"
            yield f"*{caption}*\n"
        for grid in section.grids:
            if grid.title != section.title:
                yield f"### {escape_markdown(grid.title)}\n"
            yield "0 in every cell.\n" if _is_zero(grid) else markdown(grid)


def _is_zero(grid: Grid) -> bool:
    """Whether a table of shares says no more than that nothing of the kind happened."""
    return grid.source is not None and not grid.source.empty and bool(grid.source["value"].eq(0).all())
