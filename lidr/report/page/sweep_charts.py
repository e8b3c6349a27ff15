"""The charts of a sweep on the page, each with a table of its numbers: a heat map, curves, and effects by language."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lidr.evaluation.seeds import SeedEstimate
from lidr.report.figures import captions
from lidr.report.grids import Grid
from lidr.report.metrics import model, style, written
from lidr.report.page import heat
from lidr.report.page.dots import Dot, Series, dot_chart
from lidr.report.page.markup import Html, table, tag
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
from lidr.report.page.svg import Axis, Line, Point, line_chart, text_width, ticks
from lidr.report.sweep import Results, Sweep
from lidr.report.sweep_grids import curve_grid, effect_grid, heat_grids
from lidr.report.sweep_views import (
    MOST_PANELS,
    Curve,
    Effects,
    HeatMap,
    curves,
    effects,
    heat_map,
    percent,
)

_LABEL_ROOM = 76.0  # beside the lines' ends


def sweep_charts(sweep: Sweep) -> Iterator[Html]:
    """What the report's figures show, as far as there are numbers."""
    for found in sweep.results:
        heated, curved, effected = heat_map(found), curves(found), effects(found)
        if heated is not None:
            yield _heat(found, heated)
        if curved:
            yield _curves(found, curved)
        if effected:
            yield _effects(found, effected)


def _heat(found: Results, drawn: HeatMap) -> Html:
    x, y = (heat.Side(axis.name, axis.values) for axis in (drawn.x, drawn.y))
    panels = []
    for title, cells in drawn.panels:
        shown = [
            [_cell(found, cell, (a, b), drawn) for a, cell in zip(drawn.x.values, row, strict=True)]
            for b, row in zip(drawn.y.values, cells, strict=True)
        ]
        name = f"{_name(found)}: change, {found.headline}" + (f", {title}" if title else "")
        chart, is_wide = heat.heat_chart(name, x, y, shown, drawn.ends)
        panels.append(panel(_scrolled(chart, name) if is_wide else chart, title))
    caption = _caption(found, f"change of {found.headline} (points)", "-heat")
    return figure(panels, f"{caption} A stronger colour is more.", [_numbers(list(heat_grids(found, drawn)))])


def _scrolled(chart: Html, name: str) -> Html:
    """Moved sideways where there is no room, rather than made too small to read."""
    return tag("div", chart, class_="scroll", role="region", aria_label=name, tabindex=0)


def _cell(
    found: Results, estimate: SeedEstimate | None, values: tuple[str, str], drawn: HeatMap
) -> heat.Cell:
    place = f"{drawn.x.name} {values[0]}, {drawn.y.name} {values[1]}"
    if estimate is None:
        return heat.Cell(None, "-", f"{place}: no number")
    shown = written(found.metric, estimate.estimate.value, signed=True)
    return heat.Cell(percent(estimate)[0], shown, f"{place}: {_said(found, estimate, signed=True)}")


def _curves(found: Results, drawn: Sequence[Curve]) -> Html:
    """A panel for each combination of the further axes' values, a line for each value of the first.

    Where these are too many, or few curves share a panel, all are in one.
    """
    ends = limits(np.array([percent(level) for curve in drawn for level in curve.levels]))
    groups: dict[tuple[str, ...], list[Curve]] = {}
    for curve in drawn:
        groups.setdefault(curve.setting.labels[1:], []).append(curve)
    panels = []
    if len(groups) <= MOST_PANELS and len(drawn) > len(groups):
        for labels, group in groups.items():
            names = [curve.setting.labels[0] for curve in group]
            title = found.sweep.words(dict(enumerate(labels, start=1)))
            panels.append(_curve_panel(found, group, names, title, ends))
        first = f" A line is a value of {found.sweep.axes[0].name}."
    else:
        names = [found.sweep.label(curve.setting) for curve in drawn]
        panels.append(_curve_panel(found, drawn, names, "", ends))
        first = ""
    caption = _caption(found, found.headline, "-curves")
    return figure(panels, f"{caption}{first}", [_numbers([curve_grid(found, drawn)])])


def _curve_panel(
    found: Results, group: Sequence[Curve], names: Sequence[str], title: str, ends: tuple[float, float]
) -> Html:
    """Lines with their names at their ends, or with numbers there, and the names below."""
    fits = all(text_width(name) <= _LABEL_ROOM for name in names)
    short = list(names) if fits else [str(number) for number in range(1, len(names) + 1)]
    lines = []
    for place, curve in enumerate(group):
        colour = found.sweep.axes[0].values.index(curve.setting.labels[0]) if fits else place
        dodge = (place - (len(group) - 1) / 2) * min(DODGE, 0.3 / len(group))
        points = list(_points(found, curve, dodge))
        lines.append(Line(short[place], points, colour % COLOURS, shape=colour + colour // COLOURS))
    y = percent_axis(f"{style(found.metric).title.lower()} (%)", ends)
    x = iteration_axis(max(len(curve.levels) for curve in group) - 1)
    name = f"{_name(found)}, {found.headline}" + (f": {title}" if title else "")
    chart = line_chart(name, described(lines), lines, x, y)
    below = [] if fits else [legend(list(zip(short, names, strict=True)))]
    return panel(tag("div", chart, *below), title)


def _points(found: Results, curve: Curve, dodge: float) -> Iterator[Point]:
    for t, level in enumerate(curve.levels):
        if level is not None:
            said = f"{found.sweep.label(curve.setting)}, {model(t)}: {_said(found, level)}"
            yield Point(t + dodge, *_ends(level), said)


def _effects(found: Results, drawn: Sequence[Effects]) -> Html:
    """A panel an axis."""
    every = [e for each in drawn for own in each.by_value.values() for e in own if e is not None]
    low, high = limits(np.array([percent(effect) for effect in every]), floor=None)
    x = Axis(f"last model minus {model(0)} (points)", low, high, ticks(low, high))
    panels = []
    for each in drawn:
        series = [
            Series(value, _dots(found, each, value), place % COLOURS, place + place // COLOURS)
            for place, value in enumerate(each.by_value)
        ]
        name = f"{_name(found)}: change by language, by {each.axis.name}"
        panels.append(panel(dot_chart(name, found.rows, series, x), each.axis.name))
    grids = [effect_grid(found, each) for each in drawn]
    return figure(panels, _caption(found, "change by language", "-effects"), [_numbers(grids)])


def _dots(found: Results, each: Effects, value: str) -> list[Dot | None]:
    dots: list[Dot | None] = []
    for row, effect in zip(found.rows, each.by_value[value], strict=True):
        said = f"{each.axis.name} {value}, {row}: " + (_said(found, effect, signed=True) if effect else "")
        dots.append(Dot(*_ends(effect), said) if effect is not None else None)
    return dots


def _ends(estimate: SeedEstimate) -> tuple[float, float | None, float | None]:
    """Value and interval in percent."""
    value, low, high = percent(estimate)
    return value, None if np.isnan(low) else low, None if np.isnan(high) else high


def _said(found: Results, estimate: SeedEstimate, signed: bool = False) -> str:
    value, low, high, _ = estimate.estimate
    return written(found.metric, value, low, high, signed=signed)


def _name(found: Results) -> str:
    return f"{style(found.metric).title} on {found.benchmark}"


def _caption(found: Results, what: str, part: str) -> str:
    return f"{_name(found)}, {what}. {dict(captions())[part]}"


def _numbers(grids: Sequence[Grid]) -> Html:
    return tag("details", tag("summary", "numbers of this figure"), *map(table, grids))
