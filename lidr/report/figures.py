"""Figures: what each iteration changed per language, the gap between languages, and how training went."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lidr.evaluation import imbalance_gap
from lidr.report.frame import benchmarks, last_iteration, select
from lidr.report.metrics import model, style
from lidr.report.plotting import (
    BLACK,
    GREY,
    MARKERS,
    PALETTE,
    SYNTHETIC,
    Label,
    place_labels,
    plotting_style,
    save,
    subplots,
)
from lidr.report.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BY_LANGUAGE = ("accuracy", "on_target", "off_target", "win_rate")
_WITH_GAP = ("accuracy", "joint")
_CURVES = {"loss": "loss (nats)", "margin": "margin (nats)"}
_SMOOTH = 15
_MOST_COLUMNS = 4


def draw(runs: Sequence[Run], frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes every figure there are numbers for, as PNG and PDF."""
    with plotting_style():
        return _draw(runs, frame, folder)


def slug(benchmark: str) -> str:
    """How the names of a benchmark's figures begin."""
    return re.sub(r"[^\w.-]+", "_", benchmark)


def _draw(runs: Sequence[Run], frame: pd.DataFrame, folder: Path) -> list[Path]:
    paths: list[Path] = []
    for benchmark in benchmarks(runs):
        scores = frame[(frame["benchmark"] == benchmark) & ~frame["model"].str.contains(" - ", regex=False)]
        for metric in _BY_LANGUAGE:
            if scores["metric"].eq(metric).any():
                paths += _by_language(runs, select(scores, metric=metric), benchmark, metric, folder)
        if scores["metric"].isin([imbalance_gap(m) for m in _WITH_GAP]).any():
            paths += _gap(runs, scores, benchmark, folder)
        if len(runs) > 1:
            paths += _changes(runs, frame, benchmark, folder)
    return paths + (_training(runs, folder) if any(run.training for run in runs) else [])


def _by_language(
    runs: Sequence[Run], frame: pd.DataFrame, benchmark: str, metric: str, folder: Path
) -> list[Path]:
    """A panel a run, a line a language, against the iteration."""
    per_row = min(len(runs), 3)
    rows = -(-len(runs) // per_row)
    figure, panels = subplots(rows, per_row, 4.6 if len(runs) == 1 else 3.7, 3.4, sharey=True)
    shapes = _line_shapes(runs)
    for axes, run in zip(panels.flat, runs, strict=False):
        mine = select(frame, run=run.label, language=list(run.config.languages.all))
        _language_lines(axes, mine, run, shapes)
        axes.set_title(run.label if len(runs) > 1 else f"{style(metric).title} on {benchmark}")
        iteration_axis(axes, run.config.iterations)
    for axes in panels.flat[len(runs) :]:
        axes.remove()
    limits = _limits(frame)
    for axes in panels.flat[: len(runs)]:
        axes.set_ylim(*limits)
    for axes in panels[:, 0]:
        axes.set_ylabel(f"{style(metric).title.lower()} (%), 95 % interval")
    figure.draw_without_rendering()
    for axes, run in zip(panels.flat, runs, strict=False):
        place_labels(axes, _end_labels(select(frame, run=run.label), run, shapes))
    caption(figure, runs, f"{style(metric).title} on {benchmark}" if len(runs) > 1 else "")
    return save(figure, folder, f"{slug(benchmark)}-{metric}-by-language")


def _line_shapes(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dash of each language, the same in every panel."""
    shapes: dict[str, dict[str, Any]] = {}
    for run in runs:
        languages = run.config.languages
        for code in (c for c in languages.all if c not in shapes):
            place = len(shapes)
            dominant, unseen = code == languages.dominant, code in languages.unseen
            shapes[code] = {
                "color": BLACK if dominant else GREY if unseen else PALETTE[(place - 1) % len(PALETTE)],
                "marker": MARKERS[place % len(MARKERS)],
                "linestyle": "--" if unseen else "-",
                "linewidth": 2.2 if dominant else 1.5,
            }
    return shapes


def _language_lines(
    axes: Axes, frame: pd.DataFrame, run: Run, shapes: Mapping[str, Mapping[str, Any]]
) -> None:
    codes = [code for code in run.config.languages.all if code in set(frame["language"])]
    for place, code in enumerate(codes):
        dodge = (place - (len(codes) - 1) / 2) * 0.035
        _line(axes, select(frame, language=code), dodge, **shapes[code])


def _line(axes: Axes, frame: pd.DataFrame, dodge: float, **shape: Any) -> None:
    """Values with their intervals, in percent, against the iteration."""
    points = frame.dropna(subset=["value"]).sort_values("iteration")
    x = points["iteration"].to_numpy(dtype=float) + dodge
    value, low, high = (100 * points[c].to_numpy(dtype=float) for c in ("value", "low", "high"))
    reach = np.nan_to_num(np.clip(np.stack([value - low, high - value]), 0, None))
    axes.plot(x, value, **shape)
    axes.errorbar(x, value, yerr=reach, fmt="none", ecolor=shape["color"], elinewidth=0.8, alpha=0.55)


def _end_labels(frame: pd.DataFrame, run: Run, shapes: Mapping[str, Mapping[str, Any]]) -> list[Label]:
    labels = []
    for code in run.config.languages.all:
        points = select(frame, language=code).dropna(subset=["value"]).sort_values("iteration")
        if len(points):
            role = " unseen" if code in run.config.languages.unseen else ""
            labels.append(
                Label(100 * float(points["value"].iloc[-1]), code + role, str(shapes[code]["color"]))
            )
    return labels


def _limits(frame: pd.DataFrame) -> tuple[float, float]:
    """From 0, or from below the lowest interval where none comes near 0, to above the highest."""
    ends = 100 * frame[["value", "low", "high"]].to_numpy(dtype=float)
    if not np.isfinite(ends).any():
        return 0.0, 100.0
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    room = max(0.06 * (high - low), 0.5)
    return max(0.0, low - room) if low > 15 else -0.02 * (high + room), min(high + room, 102.0)


def iteration_axis(axes: Axes, iterations: int) -> None:
    """M_0 to M_T below a panel."""
    axes.set_xticks(range(iterations + 1), [model(t) for t in range(iterations + 1)])
    axes.set_xlim(-0.25, iterations + 0.25)
    axes.set_xlabel("model after iteration t")
    axes.grid(visible=False, axis="x")


def _gap(runs: Sequence[Run], frame: pd.DataFrame, benchmark: str, folder: Path) -> list[Path]:
    """Dominant minus mean non-dominant: a line a run, or a line a metric where there is one run."""
    figure, panels = subplots(1, 1, 4.6 if len(runs) == 1 else 6.2, 3.2)
    axes = panels[0, 0]
    metrics = _WITH_GAP if len(runs) == 1 else _WITH_GAP[:1]
    lines = [(run, metric) for run in runs for metric in metrics]
    for place, (run, metric) in enumerate(lines):
        dodge = (place - (len(lines) - 1) / 2) * 0.04
        mine = select(frame, run=run.label, metric=imbalance_gap(metric))
        name = style(metric).title.lower() if len(runs) == 1 else run.label
        color, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
        _line(axes, mine, dodge, color=color, marker=marker, label=name)
    axes.axhline(0, color=BLACK, linewidth=0.8)
    iteration_axis(axes, max(run.config.iterations for run in runs))
    axes.set_ylabel("dominant minus mean non-dominant\n(percentage points), 95 % interval")
    axes.set_title(f"Imbalance gap on {benchmark}" + ("" if len(runs) == 1 else ", accuracy"))
    if len(runs) == 1:
        axes.legend(loc="best", fontsize=8.5)
    else:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8.5)
    caption(figure, runs)
    return save(figure, folder, f"{slug(benchmark)}-imbalance-gap")


def _changes(runs: Sequence[Run], frame: pd.DataFrame, benchmark: str, folder: Path) -> list[Path]:
    """What changed since M_0, language by language, runs beside each other."""
    metric = "accuracy" if frame["metric"].eq("accuracy").any() else "on_target"
    names = {run.label: f"{model(last_iteration(run.scores, benchmark))} - {model(0)}" for run in runs}
    changed = frame[frame["model"] == frame["run"].map(names)]
    changed = select(changed, benchmark=benchmark, metric=metric).dropna(subset=["value"])
    if changed.empty:
        return []
    languages = list(dict.fromkeys(changed["language"]))
    figure, panels = subplots(1, 1, 6.8, 0.8 + len(languages) * (0.2 + 0.11 * len(runs)))
    axes = panels[0, 0]
    for place, run in enumerate(runs):
        mine = select(changed, run=run.label)
        y = (
            np.array([languages.index(code) for code in mine["language"]])
            + (place - (len(runs) - 1) / 2) * 0.2
        )
        value, low, high = (100 * mine[c].to_numpy(dtype=float) for c in ("value", "low", "high"))
        color = PALETTE[place % len(PALETTE)]
        reach = np.nan_to_num(np.clip(np.stack([value - low, high - value]), 0, None))
        marker, name = MARKERS[place % len(MARKERS)], f"{run.label}: {names[run.label]}"
        axes.errorbar(value, y, xerr=reach, fmt=marker, color=color, elinewidth=1.1, label=name)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    axes.set_yticks(range(len(languages)), languages)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("last model minus M_0 (percentage points), paired 95 % interval")
    axes.set_title(f"Change in {style(metric).title.lower()} on {benchmark}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8.5)
    caption(figure, runs)
    return save(figure, folder, f"{slug(benchmark)}-{metric}-change")


def _training(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Loss and margin against the optimizer step: a column a run, a line an iteration.

    Many runs share one column, with their last iteration alone.
    """
    curves = [name for name in _CURVES if any(_has(run, name) for run in runs)]
    if not curves:  # a training that has not made its first step
        return []
    columns = [_iterations(run) for run in runs]
    if len(runs) > _MOST_COLUMNS:
        columns = [[line for lines in columns for line in lines[-1:]]]
    width = 4.6 if len(columns) == 1 else 3.4
    figure, panels = subplots(len(curves), len(columns), width, 2.3, sharey="row", sharex="col")
    for column, lines in enumerate(columns):
        for row, name in enumerate(curves):
            for place, (label, records) in enumerate(lines):
                text = label.rpartition(": ")[2] if len(columns) > 1 or len(runs) == 1 else label
                _curve(panels[row, column], records, f"train/{name}", PALETTE[place % len(PALETTE)], text)
        panels[0, column].set_title(runs[column].label if len(columns) > 1 else "Training")
        panels[-1, column].set_xlabel("optimizer step")
    for row, name in enumerate(curves):
        panels[row, 0].set_ylabel(_CURVES[name])
    panels[0, 0].legend(loc="best", fontsize=8.5)
    caption(figure, runs)
    return save(figure, folder, "training")


def _iterations(run: Run) -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    return [(f"{run.label}: iteration {t}", records) for t, records in run.training.items()]


def _has(run: Run, name: str) -> bool:
    return any(f"train/{name}" in records[0] for records in run.training.values() if records)


def _curve(axes: Axes, records: Sequence[Mapping[str, Any]], key: str, color: str, label: str) -> None:
    """The values as they are, thin, under their running mean."""
    points = [(float(r["step"]), float(r[key])) for r in records if key in r and "step" in r]
    if not points:
        return
    x, y = np.array(points).T
    window = min(_SMOOTH, max(1, len(y) // 5))
    smooth = pd.Series(y).rolling(window, min_periods=1, center=True).mean().to_numpy()
    axes.plot(x, y, color=color, linewidth=0.7, alpha=0.35)
    axes.plot(x, smooth, color=color, label=label)


def caption(figure: Any, runs: Sequence[Run], title: str = "") -> None:
    """The title over several panels, and where the numbers come from."""
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    if any(run.has_lab for run in runs):
        figure.supxlabel(SYNTHETIC, x=0.01, ha="left", fontsize=7.5, color=GREY)


def captions() -> Iterator[tuple[str, str]]:
    """Part of a figure's name, and what it shows."""
    yield "-by-language", "By language and iteration; bars are 95 % intervals."
    yield "-imbalance-gap", "Dominant score minus mean non-dominant score; at 0 the languages are level."
    yield "-change", "Last model minus M_0, paired by problem; bars are 95 % intervals."
    yield "-heat", "Change since M_0 of the mean over languages; each cell is a setting, over its seeds."
    yield "-curves", "By setting and iteration; bars are 95 % intervals, over seeds and problems."
    yield (
        "-effects",
        "Last model minus M_0 at each value, averaged over the other values; bars are 95 % intervals.",
    )
    yield "training", f"Per optimizer step; thick lines are running means over up to {_SMOOTH} steps."
