"""Values with their intervals, lying: a row a name, a mark a series, as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lidr.report.page.markup import Html, tag
from lidr.report.page.svg import WIDTH, Axis, Scale, drawing, marker, short, text_width

_TOP, _RIGHT, _BOTTOM = 6.0, 16.0, 40.0
_MOST_LABEL = 132.0
_LINE = 18.0  # of the legend
_APART = 12.0  # between the marks of a row


@dataclass(frozen=True)
class Dot:
    """A value with its interval's ends; said: what a pointer over it reads."""

    value: float
    low: float | None
    high: float | None
    said: str


@dataclass(frozen=True)
class Series:
    """A mark a row, None where there is no number. colour, shape: numbers of the page's."""

    name: str
    dots: Sequence[Dot | None]
    colour: int
    shape: int


def dot_chart(title: str, rows: Sequence[str], series: Sequence[Series], x: Axis) -> Html:
    """A chart with its legend above.

    Args:
        title: names the chart for readers that do not see it.
        rows: names.
        series: in the order in which they lie in a row, from above.
        x: of all values; a line marks 0.
    """
    left = min(_MOST_LABEL, max(map(text_width, rows))) + 14
    across = Scale(x.low, x.high, left, WIDTH - _RIGHT)
    places = list(_legend_places(series))
    top = _TOP + _LINE * (places[-1][1] + 1) + 6
    height = _APART * len(series) + 12
    bottom = top + height * len(rows)
    parts = [*_legend(series, places), *_grid(x, across, top, bottom)]
    for row, name in enumerate(rows):
        y = top + row * height
        parts.append(tag("line", class_="grid", x1=left, x2=WIDTH - _RIGHT, y1=y, y2=y))
        middle = y + height / 2 + 4
        shown = short(name, _MOST_LABEL)
        parts.append(tag("text", shown, class_="tick", x=left - 8, y=middle, text_anchor="end"))
    for place, one in enumerate(series):
        offset = 6 + _APART * (place + 0.5)
        dots = [
            _dot(dot, one.shape, across, top + row * height + offset)
            for row, dot in enumerate(one.dots)
            if dot is not None
        ]
        parts.append(tag("g", *dots, class_=f"series c-{one.colour}"))
    said = "; ".join(dot.said for one in series for dot in one.dots if dot is not None)
    return drawing(title, said, parts, WIDTH, bottom + _BOTTOM)


def _dot(dot: Dot, shape: int, across: Scale, y: float) -> Html:
    parts = []
    if dot.low is not None and dot.high is not None:
        parts.append(tag("line", class_="interval", x1=across(dot.low), x2=across(dot.high), y1=y, y2=y))
    return tag("g", *parts, marker(shape, (across(dot.value), y), dot.said))


def _grid(axis: Axis, across: Scale, top: float, bottom: float) -> Iterator[Html]:
    for value, name in axis.ticks:
        x = across(value)
        yield tag("line", class_="zero" if value == 0 else "grid", x1=x, x2=x, y1=top, y2=bottom)
        yield tag("text", name, class_="tick", x=x, y=bottom + 16, text_anchor="middle")
    middle = (across.start + across.end) / 2
    yield tag("text", axis.title, class_="axis", x=middle, y=bottom + 33, text_anchor="middle")


def _legend_places(series: Sequence[Series]) -> Iterator[tuple[float, int]]:
    """x and line of each series' mark; a line that is full is broken."""
    x, line = 8.0, 0
    for one in series:
        wide = 12 + text_width(one.name) + 18
        if x > 8.0 and x + wide > WIDTH:
            x, line = 8.0, line + 1
        yield x, line
        x += wide


def _legend(series: Sequence[Series], places: Sequence[tuple[float, int]]) -> Iterator[Html]:
    for one, (x, line) in zip(series, places, strict=True):
        y = _TOP + _LINE * line + 8
        name = short(one.name, WIDTH - 40.0)
        text = tag("text", name, class_="label", x=x + 12, y=y + 4)
        yield tag("g", marker(one.shape, (x, y), one.name), text, class_=f"series c-{one.colour}")
