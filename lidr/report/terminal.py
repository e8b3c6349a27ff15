"""The tables at the end of ``lidr run``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from lidr.evaluation import ALL, PAIRS, Score
from lidr.evaluation.scores import imbalance_gap
from lidr.report.grids import Grid
from lidr.report.metrics import MISSING, model, style, written
from lidr.report.runs import read_runs
from lidr.report.seeds import PROBLEMS, seed_grids, seed_groups
from lidr.report.sweep import find_sweep
from lidr.report.sweep_grids import CHANGE, summary
from lidr.synthesis import audit_table
from lidr.synthesis.audit_file import read_audit

_HEADLINE = ("accuracy", "on_target")
_BESIDE = "off_target"


def terminal_table(scores: Sequence[Score], benchmark: str | None = None) -> Table:
    """A benchmark's main metric by language and model, narrow enough for 80 columns at three models.

    Args:
        scores: of one run.
        benchmark: which one; the first that was scored where none is named.
    """
    name = benchmark or next((s.benchmark for s in scores if s.benchmark != PAIRS), "")
    mine = [s for s in scores if s.benchmark == name]
    metrics = {s.metric for s in mine}
    metric = next((m for m in _HEADLINE if m in metrics), next(iter(sorted(metrics)), ""))
    found = {(s.language, s.metric, s.iteration): s for s in mine}
    iterations = sorted({s.iteration for s in mine})
    table = _empty(name, metric, iterations, _BESIDE in metrics)
    for language in dict.fromkeys(s.language for s in mine if s.language != ALL):
        values = [found.get((language, metric, t)) for t in iterations]
        row = [language, *_cells(values)]
        if _BESIDE in metrics:
            ends = dict.fromkeys((iterations[0], iterations[-1]))
            row.append("→".join(_plain(found.get((language, _BESIDE, t))) for t in ends))
        table.add_row(*row)
    gaps = [found.get((ALL, imbalance_gap(metric), t)) for t in iterations]
    if any(gaps):
        table.add_row("imbalance gap", *_cells(gaps))
    return table


def audit_tables(run: Path) -> list[Table]:
    """What became of the pair candidates, a table for each iteration that has pairs; a column a kind of pair."""
    tables = []
    for path in sorted(run.glob("iteration-*/pairs/audit.json")):
        header, rows = audit_table(read_audit(path))
        title = f"pairs of {path.parents[1].name}"
        table = Table(title=title, box=None, title_justify="left")
        table.add_column("")
        for row in rows:
            table.add_column(" ".join(row[:2]).strip(), justify="right")
        for place, name in enumerate(header[2:], start=2):
            table.add_row(name, *(row[place] for row in rows))
        tables.append(table)
    return tables


def seed_tables(runs: Sequence[Path]) -> list[Table]:
    """Runs that differ in their seed alone: each benchmark's main metric over the seeds.

    Narrower than the report's table: without the number of problems, and with one interval, the difference's.
    """
    tables = []
    for number, group in enumerate(seed_groups(read_runs(runs)), start=1):
        grid = next(iter(seed_grids(group, number)), None)
        if grid is not None:
            table = Table(title=grid.title, caption=grid.note, box=None, title_justify="left")
            shown = [place for place, name in enumerate(grid.header) if name != PROBLEMS]
            for place in shown:
                table.add_column(grid.header[place], justify="right" if place else "left")
            for row in grid.rows:
                table.add_row(*(_brief(grid.header[place], row[place]) for place in shown))
            tables.append(table)
    return tables


def sweep_tables(runs: Sequence[Path]) -> list[Table]:
    """What each setting of a sweep came to, of each benchmark; none where nothing but the seed was swept."""
    sweep = find_sweep(read_runs(runs))
    if sweep is None:
        return []
    return [_shown(summary(found)) for found in sweep.results]


def _shown(grid: Grid) -> Table:
    table = Table(title=grid.title, caption=grid.note, box=None, title_justify="left", caption_justify="left")
    for column in grid.header:
        table.add_column(column, justify="right", no_wrap=column == CHANGE)
    for row in grid.rows:
        cells = zip(grid.header, row, strict=True)
        table.add_row(*(cell if column == CHANGE else cell.partition(" [")[0] for column, cell in cells))
    return table


def _brief(column: str, cell: str) -> str:
    """A model's value without its interval."""
    return cell.partition(" [")[0] if re.fullmatch(r"M_\d+", column) else cell


def _empty(name: str, metric: str, iterations: Sequence[int], beside: bool) -> Table:
    form = style(metric)
    caption = "±: the longer arm of the 95 % interval" + ("; off target: first→last model" if beside else "")
    title = f"{name}: {form.title.lower()} ({form.unit})"
    table = Table(
        title=title,
        caption=caption,
        box=None,
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("language", no_wrap=True)
    headers = [model(t) for t in iterations]
    if len(iterations) > 1:
        headers.append(f"{model(iterations[-1])} - {model(iterations[0])}")
    if beside:
        headers.append("off target")
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _cells(values: Sequence[Score | None]) -> list[str]:
    """Each model's value, and the last one's difference to the first."""
    cells = [_cell(value) for value in values]
    return [*cells, _change(values[0], values[-1])] if len(values) > 1 else cells


def _cell(score: Score | None) -> str:
    text = _plain(score)
    if score is None or score.value is None or score.low is None or score.high is None:
        return text
    arm = max(score.value - score.low, score.high - score.value)
    return f"{text} ±{written(score.metric, arm)}"


def _plain(score: Score | None) -> str:
    return MISSING if score is None else written(score.metric, score.value)


def _change(first: Score | None, last: Score | None) -> str:
    if first is None or last is None or first.value is None or last.value is None:
        return MISSING
    return written(last.metric, last.value - first.value, signed=True)
