"""A sweep's figures: a heat map over two axes, curves by iteration, and effects by language."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lidr.evaluation.seeds import SeedEstimate
from lidr.report.figures import caption, iteration_axis, slug
from lidr.report.metrics import model, style
from lidr.report.plotting import BLACK, MARKERS, PALETTE, plotting_style, save, subplots
from lidr.report.runs import Run
from lidr.report.sweep import Results, Setting, Sweep, results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_LINES = 18
_MOST_PANELS = 6
_COLOURS = "cividis"  # light means more, also to those who are colour-blind and in print
_DASHES = ("-", "--", ":", "-.")


def draw_sweep(sweep: Sweep, folder: Path) -> list[Path]:
    """Writes every figure there are numbers for, as PNG and PDF."""
    paths: list[Path] = []
    with plotting_style():
        for found in results(sweep):
            paths += _heat(found, folder) + _curves(found, folder) + _effects(found, folder)
    return paths


def _runs(found: Results) -> list[Run]:
    return [run for setting in found.sweep.settings for run in setting.runs]


def _name(found: Results, what: str) -> str:
    return f"sweep-{slug(found.benchmark)}-{found.metric}-{what}"


def _heat(found: Results, folder: Path) -> list[Path]:
    """The headline's change over the two longest axes; a panel for each combination of the others."""
    sweep = found.sweep
    order = sorted(range(len(sweep.axes)), key=lambda i: -len(sweep.axes[i].values))
    if len(order) < 2:
        return []
    (y, x), rest = sorted(order[:2]), order[2:]
    panels = list(product(*(sweep.axes[i].values for i in rest)))[:_MOST_PANELS]
    grids = [_heat_values(found, x, y, dict(zip(rest, panel, strict=True))) for panel in panels]
    if not any(np.isfinite(grid).any() for grid in grids):
        return []
    low, high = min(np.nanmin(g) for g in grids), max(np.nanmax(g) for g in grids)
    width = 1.4 + 0.85 * len(sweep.axes[x].values)
    height = 1.3 + 0.5 * len(sweep.axes[y].values)
    figure, drawn = subplots(1, len(panels), max(width, 3.9), max(height, 2.6))
    for axes, panel, grid in zip(drawn.flat, panels, grids, strict=True):
        _heat_panel(axes, grid, (low, high))
        axes.set_xticks(range(len(sweep.axes[x].values)), sweep.axes[x].values)
        axes.set_yticks(range(len(sweep.axes[y].values)), sweep.axes[y].values)
        axes.set_xlabel(sweep.axes[x].name)
        axes.set_ylabel(sweep.axes[y].name)
        axes.set_title(", ".join(f"{sweep.axes[i].name}={v}" for i, v in zip(rest, panel, strict=True)))
    title = f"{style(found.metric).title} on {found.benchmark}: change (points)\n{found.headline}"
    caption(figure, _runs(found), title)
    return save(figure, folder, _name(found, "heat"))


def _heat_values(found: Results, x: int, y: int, fixed: dict[int, str]) -> Any:
    """[values of y, values of x] in points; nan where there is no such setting."""
    axes = found.sweep.axes
    grid = np.full((len(axes[y].values), len(axes[x].values)), np.nan)
    for setting in found.sweep.settings:
        change = found.change(setting, found.headline)
        if change is not None and all(setting.labels[i] == v for i, v in fixed.items()):
            place = axes[y].values.index(setting.labels[y]), axes[x].values.index(setting.labels[x])
            grid[place] = 100 * change.estimate.value if change.estimate.value is not None else np.nan
    return grid


def _heat_panel(axes: Axes, grid: Any, limits: tuple[float, float]) -> None:
    image = axes.imshow(grid, cmap=_COLOURS, vmin=limits[0], vmax=limits[1], aspect="auto")
    middle = (limits[0] + limits[1]) / 2
    for (row, column), value in np.ndenumerate(grid):
        if np.isfinite(value):
            ink = BLACK if value > middle and limits[1] > limits[0] else "white"
            axes.text(column, row, f"{value:+.1f}", ha="center", va="center", color=ink, fontsize=9)
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, shrink=0.9)


def _curves(found: Results, folder: Path) -> list[Path]:
    """The headline against the iteration, a line a setting: colours by the first axis, dashes by the others."""
    settings = [s for s in found.sweep.settings if found.level(s, 0, found.headline) is not None]
    if not settings or len(settings) > _MOST_LINES:
        return []
    figure, panels = subplots(1, 1, 6.6, 3.6)
    axes = panels[0, 0]
    rest = list(dict.fromkeys(setting.labels[1:] for setting in settings))
    for place, setting in enumerate(settings):
        colour = found.sweep.axes[0].values.index(setting.labels[0])
        shape = {
            "color": PALETTE[colour % len(PALETTE)],
            "marker": MARKERS[colour % len(MARKERS)],
            "linestyle": _DASHES[rest.index(setting.labels[1:]) % len(_DASHES)],
        }
        dodge = (place - (len(settings) - 1) / 2) * min(0.03, 0.3 / len(settings))
        _curve(axes, found, setting, dodge, shape)
    iteration_axis(axes, max(found.last(setting) for setting in settings))
    axes.set_ylabel(f"{style(found.metric).title.lower()} (%), 95 % interval")
    axes.set_title(f"{style(found.metric).title} on {found.benchmark}, {found.headline}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, handlelength=3.2)
    caption(figure, _runs(found))
    return save(figure, folder, _name(found, "curves"))


def _curve(axes: Axes, found: Results, setting: Setting, dodge: float, shape: dict[str, Any]) -> None:
    levels = [found.level(setting, t, found.headline) for t in range(found.last(setting) + 1)]
    points = [(t, *_ends(level)) for t, level in enumerate(levels) if level is not None]
    t, value, low, high = np.array(points, dtype=float).T
    axes.plot(t + dodge, value, label=found.sweep.label(setting), **shape)
    axes.errorbar(
        t + dodge,
        value,
        yerr=_reach(value, low, high),
        fmt="none",
        ecolor=shape["color"],
        elinewidth=0.7,
        alpha=0.5,
    )


def _ends(found: SeedEstimate) -> tuple[float, float, float]:
    """Value and interval in percent; nan for what is not there."""
    value, low, high, _ = found.estimate
    a, b, c = (np.nan if number is None else 100 * number for number in (value, low, high))
    return a, b, c


def _reach(value: Any, low: Any, high: Any) -> Any:
    return np.nan_to_num(np.clip(np.stack([value - low, high - value]), 0, None))


def _effects(found: Results, folder: Path) -> list[Path]:
    """The change by language at each value of an axis, averaged over the other axes; a panel an axis."""
    axes_of = found.sweep.axes
    rows = found.rows
    drawn = {
        (i, value): [found.effect(i, value, row) for row in rows]
        for i, axis in enumerate(axes_of)
        for value in axis.values
    }
    if not any(effect is not None for effects in drawn.values() for effect in effects):
        return []
    longest = max(len(axis.values) for axis in axes_of)
    height = 1.1 + len(rows) * (0.16 + 0.09 * longest)
    figure, panels = subplots(1, len(axes_of), 4.4, height, sharex=True)
    for i, (axes, axis) in enumerate(zip(panels.flat, axes_of, strict=True)):
        for place, value in enumerate(axis.values):
            _effect(axes, drawn[i, value], (place, len(axis.values)), value)
        axes.axvline(0, color=BLACK, linewidth=0.8)
        axes.set_yticks(range(len(rows)), rows)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"last model minus {model(0)} (points)")
        axes.set_title(axis.name)
        axes.legend(loc="best", fontsize=8)
    caption(
        figure,
        _runs(found),
        f"Change in {style(found.metric).title.lower()} on {found.benchmark}, by language",
    )
    return save(figure, folder, _name(found, "effects"))


def _effect(axes: Axes, effects: Sequence[SeedEstimate | None], place: tuple[int, int], label: str) -> None:
    number, of = place
    points = [(y, *_ends(effect)) for y, effect in enumerate(effects) if effect is not None]
    if not points:
        return
    y, value, low, high = np.array(points, dtype=float).T
    offset = (number - (of - 1) / 2) * 0.7 / of
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
    reach = _reach(value, low, high)
    axes.errorbar(value, y + offset, xerr=reach, fmt=marker, color=colour, elinewidth=1.0, label=label)
