"""The charts of the page: what each iteration changed by language, the gap, and how training went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lidr.evaluation import imbalance_gap
from lidr.evaluation.statistics import Array
from lidr.report.frame import select
from lidr.report.metrics import model, style, written
from lidr.report.page.markup import Html
from lidr.report.page.panels import (
    COLOURS,
    DODGE,
    described,
    figure,
    iteration_axis,
    legend,
    limits,
    panel,
    percent_axis,
)
from lidr.report.page.svg import Axis, Line, Point, line_chart, ticks
from lidr.report.runs import Run

BY_LANGUAGE = ("accuracy", "on_target", "off_target")
CURVES = {"loss": "loss (nats)", "margin": "margin (nats)"}
_MOST_POINTS = 240
_SMOOTH = 15


def benchmark_charts(runs: Sequence[Run], frame: pd.DataFrame, benchmark: str) -> Iterator[Html]:
    """A figure for each main metric, then the gap; none where there are no numbers."""
    mine = frame[(frame["benchmark"] == benchmark) & ~frame["model"].str.contains(" - ", regex=False)]
    for metric in BY_LANGUAGE:
        of_metric = select(mine, metric=metric).dropna(subset=["value"])
        if not of_metric.empty:
            yield _by_language(runs, of_metric, benchmark, metric)
    gaps = select(mine, metric=imbalance_gap("accuracy")).dropna(subset=["value"])
    if not gaps.empty:
        yield _gap(runs, gaps, benchmark)


def _by_language(runs: Sequence[Run], frame: pd.DataFrame, benchmark: str, metric: str) -> Html:
    """A panel a run, a line a language."""
    ends = limits(_ends(frame))
    name = style(metric).title
    order = list(dict.fromkeys(code for run in runs for code in run.config.languages.all))
    panels = []
    for run in runs:
        mine = select(frame, run=run.label)
        lines = list(_language_lines(mine, run, metric, order))
        if lines:
            title = f"{name} on {benchmark}" + (f": {run.label}" if len(runs) > 1 else "")
            y = percent_axis(f"{name.lower()} (%)", ends)
            chart = line_chart(title, described(lines), lines, iteration_axis(run.config.iterations), y)
            panels.append(panel(chart, run.label if len(runs) > 1 else ""))
    caption = f"{name} on {benchmark} by language and iteration; bars are 95 % intervals."
    return figure(panels, caption)


def _language_lines(frame: pd.DataFrame, run: Run, metric: str, order: Sequence[str]) -> Iterator[Line]:
    """The lines of one run; a language looks the same in every run."""
    languages = run.config.languages
    codes = [code for code in languages.all if code in set(frame["language"])]
    for place, code in enumerate(codes):
        dodge = (place - (len(codes) - 1) / 2) * DODGE
        is_dominant, is_unseen = code == languages.dominant, code in languages.unseen
        number = order.index(code)
        colour = "ink" if is_dominant else "faint" if is_unseen else (number - 1) % COLOURS
        label = f"{code} unseen" if is_unseen else f"{code} dominant" if is_dominant else code
        points = _points(select(frame, language=code), metric, dodge, code)
        yield Line(label, points, colour, shape=number, dashed=is_unseen)


def _gap(runs: Sequence[Run], frame: pd.DataFrame, benchmark: str) -> Html:
    """A line a run."""
    lines = []
    for place, run in enumerate(runs):
        dodge = (place - (len(runs) - 1) / 2) * DODGE
        mine = select(frame, run=run.label)
        if not mine.empty:
            label = "gap" if len(runs) == 1 else f"run {place + 1}"
            points = _points(mine, imbalance_gap("accuracy"), dodge, label)
            lines.append(Line(label, points, place % COLOURS, shape=place + place // COLOURS))
    iterations = max(run.config.iterations for run in runs)
    y = percent_axis("gap (percentage points)", limits(_ends(frame), floor=None))
    title = f"Imbalance gap on {benchmark}"
    chart = line_chart(title, described(lines), lines, iteration_axis(iterations), y, zero=True)
    caption = f"{title}: dominant accuracy minus mean non-dominant accuracy; at 0 the languages are level."
    names = [(f"run {place + 1}", run.label) for place, run in enumerate(runs)]
    return figure([panel(chart), *([legend(names)] if len(runs) > 1 else [])], caption)


def _ends(frame: pd.DataFrame) -> Array:
    return 100 * frame[["value", "low", "high"]].to_numpy(dtype=float)


def _points(frame: pd.DataFrame, metric: str, dodge: float, name: str) -> list[Point]:
    points = []
    for row in frame.sort_values("iteration").to_dict("records"):
        value, low, high = (
            None if pd.isna(row[key]) else float(row[key]) for key in ("value", "low", "high")
        )
        if value is None:
            continue
        said = f"{name}, {model(int(row['iteration']))}: {written(metric, value, low, high)}"
        ends = [None if end is None else 100 * end for end in (low, high)]
        points.append(Point(float(row["iteration"]) + dodge, 100 * value, ends[0], ends[1], said))
    return points


def training_charts(runs: Sequence[Run]) -> Iterator[Html]:
    """A figure of the loss and one of the margin, a panel a run; none before any training."""
    for name, unit in CURVES.items():
        panels = []
        for run in runs:
            lines = list(_curves(run, f"train/{name}"))
            if lines:
                title = f"Training {name}" + (f": {run.label}" if len(runs) > 1 else "")
                said, axes = f"{unit} by optimizer step", _training_axes(lines, unit)
                panels.append(
                    panel(
                        line_chart(title, said, lines, *axes, zero=True), run.label if len(runs) > 1 else ""
                    )
                )
        if panels:
            means = f"thick lines are running means over up to {_SMOOTH} steps"
            yield figure(panels, f"Training {name} by optimizer step; {means}.")


def _curves(run: Run, key: str) -> Iterator[Line]:
    for place, (t, records) in enumerate(run.training.items()):
        x, y = _values(records, key)
        if len(x):
            window = min(_SMOOTH, max(1, len(y) // 5))
            smooth = pd.Series(y).rolling(window, min_periods=1, center=True).mean().to_numpy(dtype=float)
            label, colour = f"iteration {t}", place % COLOURS
            yield Line(label, _thinned(x, smooth), colour, under=_thinned(x, y))


def _values(
    records: Sequence[Mapping[str, Any]], key: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    points = [(float(r["step"]), float(r[key])) for r in records if key in r and "step" in r]
    finite = [point for point in points if np.isfinite(point).all()]
    x, y = np.array(finite, dtype=float).reshape(-1, 2).T
    return x, y


def _thinned(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> list[Point]:
    """At most a few hundred points: of each stretch of steps its lowest and its highest."""
    if len(x) <= _MOST_POINTS:
        return [Point(float(a), float(b)) for a, b in zip(x, y, strict=True)]
    places: list[int] = []
    for part in np.array_split(np.arange(len(x)), _MOST_POINTS // 2):
        ends = {int(part[np.argmin(y[part])]), int(part[np.argmax(y[part])])}
        places += sorted(ends)
    return [Point(float(x[i]), float(y[i])) for i in places]


def _training_axes(lines: Sequence[Line], unit: str) -> tuple[Axis, Axis]:
    points = [point for line in lines for point in (*line.points, *line.under)]
    low, high = min(p.y for p in points), max(p.y for p in points)
    room = max(0.05 * (high - low), 1e-6)
    last = max(p.x for p in points)
    y = Axis(unit, low - room, high + room, ticks(low - room, high + room))
    return Axis("optimizer step", 0.0, last, ticks(0.0, last)), y
