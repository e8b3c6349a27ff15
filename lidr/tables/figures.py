"""A figure a block: the paper's number and ours with its interval, beside each other.

A panel a row, with the columns along it; where there are many rows a panel a column, with the rows down it. The
lab's figures show ours alone: they are of another world.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lidr.report.metrics import style
from lidr.report.plotting import GREY, PALETTE, SYNTHETIC, plotting_style, save, subplots
from lidr.tables.editions import Edition, Scale, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PER_LINE = 3
_MANY = 6  # rows
_BESIDE = 0.12


def draw(edition: Edition, frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Writes PNG and PDF of every block that has a number of ours."""
    paths: list[Path] = []
    with plotting_style():
        for metric in edition.table.metrics:
            name = shown(metric, edition.scale)
            cells = frame[(frame["metric"] == name) & frame["ours"].notna()]
            if not cells.empty:
                paths += _block(edition, cells, name, folder)
    return paths


def _block(edition: Edition, cells: pd.DataFrame, metric: str, folder: Path) -> list[Path]:
    if edition.scale is Scale.LAB:
        cells = cells.assign(paper=np.nan)
    rows, columns = (list(dict.fromkeys(cells[name])) for name in ("row", "column"))
    down = len(rows) > _MANY or len(columns) == 1
    panels, ticks = (columns, rows) if down else (rows, columns)
    per_line = 2 if len(panels) == 4 else min(len(panels), _PER_LINE)
    width = 2.4 if down else max(2.6, 0.6 * len(ticks) + 1.0)
    height = 0.8 + 0.22 * len(ticks) if down else 2.8
    lines = -(-len(panels) // per_line)
    figure, drawn = subplots(lines, per_line, width, height, sharey=True, sharex=down)
    if down:
        figure.set_size_inches(width * per_line + 1.6, height * lines + 0.4)
    for axes, panel in zip(drawn.flat, panels, strict=False):
        mine = cells[cells["column" if down else "row"] == panel]
        _panel(axes, mine, "row" if down else "column", ticks, style(metric).scale)
        axes.set_title(str(panel))
    for axes in drawn.flat[len(panels) :]:
        axes.remove()
    form = style(metric)
    name = f"{form.title.lower()} ({form.unit})" if form.unit else form.title
    figure.supxlabel(name, fontsize=9) if down else figure.supylabel(name, fontsize=9)
    handles, names = drawn.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=2, fontsize=8.5)
    if edition.scale is Scale.LAB:
        figure.text(0.0, 1.0, SYNTHETIC, ha="left", va="top", fontsize=7.5, color=GREY)
    return save(figure, folder, f"{edition.table.name}-{metric}")


def _panel(axes: Axes, cells: pd.DataFrame, along: str, ticks: list[str], scale: float) -> None:
    """Values of one row against the columns (upwards), or of one column against the rows (to the right)."""
    place = {tick: number for number, tick in enumerate(ticks)}
    at = cells[along].map(place).to_numpy(dtype=float)
    paper, ours, low, high = (
        scale * cells[name].to_numpy(dtype=float) for name in ("paper", "ours", "low", "high")
    )
    down = along == "row"
    reach = np.nan_to_num(np.clip(np.stack([ours - low, high - ours]), 0, None))
    x, y = _point(at + _BESIDE, ours, down)
    bars: dict[str, Any] = {"xerr" if down else "yerr": reach, "elinewidth": 0.9}
    axes.errorbar(x=x, y=y, fmt="o", color=PALETTE[0], label="ours, 95 % interval", **bars)
    if np.isfinite(paper).any():
        there: dict[str, Any] = {"linestyle": "none", "color": GREY, "fillstyle": "none"}
        axes.plot(*_point(at - _BESIDE, paper, down), marker="D", label="the paper's", **there)
    _ticks(axes, ticks, down)


def _point(place: Any, value: Any, down: bool) -> tuple[Any, Any]:
    return (value, place) if down else (place, value)


def _ticks(axes: Axes, ticks: list[str], down: bool) -> None:
    if down:
        axes.set_yticks(range(len(ticks)), ticks, fontsize=8)
        axes.set_ylim(len(ticks) - 0.4, -0.6)
        axes.tick_params(labelbottom=True)
    else:
        broken = [tick.replace(" ", "\n").replace("_", "\n") for tick in ticks]
        axes.set_xticks(range(len(ticks)), broken, fontsize=8)
        axes.set_xlim(-0.6, len(ticks) - 0.4)
    axes.grid(visible=False, axis="y" if down else "x")
