"""What the page's charts have in common: axes, panels beside each other, and the figure around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lidr.evaluation.statistics import Array
from lidr.report.metrics import model
from lidr.report.page.markup import Html, join, tag
from lidr.report.page.svg import Axis, Line, ticks

COLOURS = 6  # the page has as many
DODGE = 0.035  # iterations between lines whose points would lie on each other


def described(lines: Sequence[Line]) -> str:
    """What a chart's points say, for readers that do not see it."""
    return "; ".join(point.said for line in lines for point in line.points)


def limits(ends: Array, floor: float | None = 0.0) -> tuple[float, float]:
    """Ends of an axis around all numbers, with some room.

    Args:
        ends: in percent; nan is passed over.
        floor: the lowest end where numbers come near it; None where they may be below 0.
    """
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    room = max(0.06 * (high - low), 0.5)
    if floor is None:
        return min(0.0, low - room), max(0.0, high + room)
    return (low - room if low > 15 else floor), min(high + room, 102.0)


def percent_axis(title: str, ends: tuple[float, float]) -> Axis:
    return Axis(title, *ends, ticks(ends[0], min(ends[1], 100.0)))


def iteration_axis(last: int) -> Axis:
    """M_0 to M_T."""
    names = [(float(t), model(t)) for t in range(last + 1)]
    return Axis("model after iteration t", -0.25, last + 0.25, names)


def legend(names: Sequence[tuple[str, str]]) -> Html:
    """Which line each short name is, in the line's colour."""
    items = [
        tag("li", tag("b", short, class_=f"c-{place % COLOURS}"), f" {name}")
        for place, (short, name) in enumerate(names)
    ]
    return tag("ul", *items, class_="legend")


def panel(chart: Html, title: str = "") -> Html:
    heading = [tag("p", title, class_="panel-title")] if title else []
    return tag("div", join([*heading, chart]), class_="panel")


def figure(panels: Sequence[Html], caption: str, below: Sequence[Html] = ()) -> Html:
    """Panels beside each other; one alone leaves room beside it for another figure."""
    width = "wide" if len(panels) > 1 else None
    drawn = tag("div", *panels, class_="charts")
    return tag("figure", tag("figcaption", caption), drawn, *below, class_=width)
