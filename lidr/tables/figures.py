"""A figure a block: the paper's number and ours with its interval, beside each other, a panel a row.

The lab's figures show ours alone: they are of another world.
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

_PER_ROW = 3


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
    rows = list(dict.fromkeys(cells["row"]))
    per_row = 2 if len(rows) == 4 else min(len(rows), _PER_ROW)
    lines = -(-len(rows) // per_row)
    labels = list(dict.fromkeys(cells["column"]))
    width = max(2.6, 0.6 * len(labels) + 1.0)
    figure, panels = subplots(lines, per_row, width, 2.8, sharey=True)
    for axes, row in zip(panels.flat, rows, strict=False):
        mine = cells[cells["row"] == row]
        if edition.scale is Scale.LAB:
            mine = mine.assign(paper=np.nan)
        _panel(axes, mine, labels, style(metric).scale)
        axes.set_title(str(row))
    for axes in panels.flat[len(rows) :]:
        axes.remove()
    form = style(metric)
    for axes in panels[:, 0]:
        axes.set_ylabel(f"{form.title.lower()} ({form.unit}), 95 % interval" if form.unit else form.title)
    handles, names = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower left", ncols=2, fontsize=8.5)
    if edition.scale is Scale.LAB:
        figure.text(1.0, 0.0, SYNTHETIC, ha="right", va="bottom", fontsize=7.5, color=GREY)
    return save(figure, folder, f"{edition.table.name}-{metric}")


def _panel(axes: Axes, cells: pd.DataFrame, labels: list[str], scale: float) -> None:
    place = {label: x for x, label in enumerate(labels)}
    x = cells["column"].map(place).to_numpy(dtype=float)
    paper, ours, low, high = (
        scale * cells[name].to_numpy(dtype=float) for name in ("paper", "ours", "low", "high")
    )
    shape: dict[str, Any] = {"linestyle": "none", "color": PALETTE[0]}
    axes.plot(x + 0.12, ours, marker="o", label="ours", **shape)
    reach = np.nan_to_num(np.clip(np.stack([ours - low, high - ours]), 0, None))
    axes.errorbar(x + 0.12, ours, yerr=reach, fmt="none", ecolor=PALETTE[0], elinewidth=0.9)
    if np.isfinite(paper).any():
        there: dict[str, Any] = {"linestyle": "none", "color": GREY, "fillstyle": "none"}
        axes.plot(x - 0.12, paper, marker="D", label="the paper's", **there)
    lines = [label.replace(" ", "\n").replace("_", "\n") for label in labels]
    axes.set_xticks(range(len(labels)), lines, fontsize=8)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.grid(visible=False, axis="x")
