"""What the figures of a sweep show, before it is drawn: into files of their own, and on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from lidr.evaluation.seeds import SeedEstimate
from lidr.evaluation.statistics import Array
from lidr.report.sweep import Axis, Results, Setting

MOST_PANELS = 6
_MOST_CURVES = 18
Cells = tuple[tuple[SeedEstimate | None, ...], ...]


@dataclass(frozen=True)
class HeatMap:
    """The headline's change over the two longest axes.

    panels: for each combination of the other axes' values what it is called, and a row for each value of y with a
    cell for each value of x; None where there is no number.
    """

    x: Axis
    y: Axis
    panels: tuple[tuple[str, Cells], ...]

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value of all panels, in points."""
        found = np.stack([points(cells) for _, cells in self.panels])
        return float(np.nanmin(found)), float(np.nanmax(found))


@dataclass(frozen=True)
class Curve:
    """The headline of one setting, by t of M_t."""

    setting: Setting
    levels: tuple[SeedEstimate | None, ...]


@dataclass(frozen=True)
class Effects:
    """The change at each value of an axis, averaged over the other axes: an estimate for each row of the results."""

    axis: Axis
    by_value: Mapping[str, tuple[SeedEstimate | None, ...]]


def percent(found: SeedEstimate | None) -> tuple[float, float, float]:
    """Value and interval in percent; nan for what is not there."""
    value, low, high = found.estimate[:3] if found is not None else (None, None, None)
    a, b, c = (np.nan if number is None else 100 * number for number in (value, low, high))
    return a, b, c


def points(cells: Cells) -> Array:
    """[values of y, values of x] of a panel; nan for what is not there."""
    return np.array([[percent(cell)[0] for cell in row] for row in cells])


def heat_map(found: Results) -> HeatMap | None:
    """None with one axis, or without any number."""
    axes = found.sweep.axes
    order = sorted(range(len(axes)), key=lambda i: -len(axes[i].values))
    if len(order) < 2:
        return None
    (y, x), rest = sorted(order[:2]), order[2:]
    changes = {setting.labels: found.change(setting, found.headline) for setting in found.sweep.settings}
    panels = []
    for values in list(product(*(axes[i].values for i in rest)))[:MOST_PANELS]:
        fixed = dict(zip(rest, values, strict=True))
        places = [[fixed | {x: a, y: b} for a in axes[x].values] for b in axes[y].values]
        cells = tuple(tuple(changes.get(_labels(place)) for place in row) for row in places)
        panels.append((found.sweep.words(fixed), cells))
    is_empty = all(cell is None for _, cells in panels for row in cells for cell in row)
    return None if is_empty else HeatMap(axes[x], axes[y], tuple(panels))


def _labels(place: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(place[i] for i in range(len(place)))


def curves(found: Results) -> list[Curve]:
    """Of every setting whose M_0 has a number; none where they are too many to be told apart."""
    settings = [s for s in found.sweep.settings if found.level(s, 0, found.headline) is not None]
    if len(settings) > _MOST_CURVES:
        return []
    return [
        Curve(s, tuple(found.level(s, t, found.headline) for t in range(found.last(s) + 1))) for s in settings
    ]


def effects(found: Results) -> Sequence[Effects]:
    """Of every axis; none where there is no number."""
    every = [
        Effects(
            axis, {value: tuple(found.effect(i, value, row) for row in found.rows) for value in axis.values}
        )
        for i, axis in enumerate(found.sweep.axes)
    ]
    shown = [effect for each in every for own in each.by_value.values() for effect in own]
    return every if any(effect is not None for effect in shown) else []
