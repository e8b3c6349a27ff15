"""A sweep's figures: a heat map over two axes, curves by iteration, and effects by language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lidr.evaluation.seeds import SeedEstimate
from lidr.evaluation.statistics import Array
from lidr.report.figures import caption, iteration_axis, slug
from lidr.report.metrics import model, style
from lidr.report.plotting import BLACK, MARKERS, PALETTE, plotting_style, save, subplots
from lidr.report.runs import Run
from lidr.report.sweep import Results, Sweep
from lidr.report.sweep_views import Curve, curves, effects, heat_map, percent, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = "cividis"  # light means more, also to those who are colour-blind and in print
_DASHES = ("-", "--", ":", "-.")


def draw_sweep(sweep: Sweep, folder: Path) -> list[Path]:
    """Writes every figure there are numbers for, as PNG and PDF."""
    paths: list[Path] = []
    with plotting_style():
        for found in sweep.results:
            paths += _heat(found, folder) + _curves(found, folder) + _effects(found, folder)
    return paths


def _runs(found: Results) -> list[Run]:
    return [run for setting in found.sweep.settings for run in setting.runs]


def _name(found: Results, what: str) -> str:
    return f"sweep-{slug(found.benchmark)}-{found.metric}-{what}"


def _heat(found: Results, folder: Path) -> list[Path]:
    heat = heat_map(found)
    if heat is None:
        return []
    width, height = 1.4 + 0.85 * len(heat.x.values), 1.3 + 0.5 * len(heat.y.values)
    figure, drawn = subplots(1, len(heat.panels), max(width, 3.9), max(height, 2.6))
    for axes, (title, cells) in zip(drawn.flat, heat.panels, strict=True):
        _heat_panel(axes, points(cells), heat.ends)
        axes.set_xticks(range(len(heat.x.values)), heat.x.values)
        axes.set_yticks(range(len(heat.y.values)), heat.y.values)
        axes.set_xlabel(heat.x.name)
        axes.set_ylabel(heat.y.name)
        axes.set_title(title)
    title = f"{style(found.metric).title} on {found.benchmark}: change (points)\n{found.headline}"
    caption(figure, _runs(found), title)
    return save(figure, folder, _name(found, "heat"))


def _heat_panel(axes: Axes, grid: Array, limits: tuple[float, float]) -> None:
    image = axes.imshow(grid, cmap=_COLOURS, vmin=limits[0], vmax=limits[1], aspect="auto")
    middle = (limits[0] + limits[1]) / 2
    for (row, column), value in np.ndenumerate(grid):
        if np.isfinite(value):
            ink = BLACK if value > middle and limits[1] > limits[0] else "white"
            axes.text(column, row, f"{value:+.1f}", ha="center", va="center", color=ink, fontsize=9)
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, shrink=0.9)


def _curves(found: Results, folder: Path) -> list[Path]:
    """A line a setting: colours by the first axis, dashes by the others."""
    drawn = curves(found)
    if not drawn:
        return []
    figure, panels = subplots(1, 1, 6.6, 3.6)
    axes = panels[0, 0]
    rest = list(dict.fromkeys(curve.setting.labels[1:] for curve in drawn))
    for place, curve in enumerate(drawn):
        colour = found.sweep.axes[0].values.index(curve.setting.labels[0])
        shape = {
            "color": PALETTE[colour % len(PALETTE)],
            "marker": MARKERS[colour % len(MARKERS)],
            "linestyle": _DASHES[rest.index(curve.setting.labels[1:]) % len(_DASHES)],
        }
        dodge = (place - (len(drawn) - 1) / 2) * min(0.03, 0.3 / len(drawn))
        _curve(axes, curve, found.sweep.label(curve.setting), dodge, shape)
    iteration_axis(axes, max(len(curve.levels) for curve in drawn) - 1)
    axes.set_ylabel(f"{style(found.metric).title.lower()} (%), 95 % interval")
    axes.set_title(f"{style(found.metric).title} on {found.benchmark}, {found.headline}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, handlelength=3.2)
    caption(figure, _runs(found))
    return save(figure, folder, _name(found, "curves"))


def _curve(axes: Axes, curve: Curve, label: str, dodge: float, shape: dict[str, Any]) -> None:
    found = [(t, *percent(level)) for t, level in enumerate(curve.levels) if level is not None]
    t, value, low, high = np.array(found, dtype=float).T
    axes.plot(t + dodge, value, label=label, **shape)
    axes.errorbar(
        t + dodge,
        value,
        yerr=_reach(value, low, high),
        fmt="none",
        ecolor=shape["color"],
        elinewidth=0.7,
        alpha=0.5,
    )


def _reach(value: Any, low: Any, high: Any) -> Any:
    return np.nan_to_num(np.clip(np.stack([value - low, high - value]), 0, None))


def _effects(found: Results, folder: Path) -> list[Path]:
    """A panel an axis."""
    drawn, rows = effects(found), found.rows
    if not drawn:
        return []
    longest = max(len(each.by_value) for each in drawn)
    height = 1.1 + len(rows) * (0.16 + 0.09 * longest)
    figure, panels = subplots(1, len(drawn), 4.4, height, sharex=True)
    for axes, each in zip(panels.flat, drawn, strict=True):
        for place, (value, own) in enumerate(each.by_value.items()):
            _effect(axes, own, (place, len(each.by_value)), value)
        axes.axvline(0, color=BLACK, linewidth=0.8)
        axes.set_yticks(range(len(rows)), rows)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"last model minus {model(0)} (points)")
        axes.set_title(each.axis.name)
        axes.legend(loc="best", fontsize=8)
    caption(
        figure,
        _runs(found),
        f"Change in {style(found.metric).title.lower()} on {found.benchmark}, by language",
    )
    return save(figure, folder, _name(found, "effects"))


def _effect(axes: Axes, effects: Sequence[SeedEstimate | None], place: tuple[int, int], label: str) -> None:
    number, of = place
    found = [(y, *percent(effect)) for y, effect in enumerate(effects) if effect is not None]
    if not found:
        return
    y, value, low, high = np.array(found, dtype=float).T
    offset = (number - (of - 1) / 2) * 0.7 / of
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
    reach = _reach(value, low, high)
    axes.errorbar(value, y + offset, xerr=reach, fmt=marker, color=colour, elinewidth=1.0, label=label)
