"""Line charts as inline SVG: colours come from the page's style, so a chart follows light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lidr.report.page.markup import Html, number, tag
from lidr.report.plotting import spread

WIDTH, HEIGHT = 460, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 92, 12, 40
_LABEL_GAP = 13.0
# Markers around their centre: circle, square, triangles, diamond, cross.
_CORNERS: tuple[tuple[tuple[float, float], ...], ...] = (
    (),
    ((-4, -4), (4, -4), (4, 4), (-4, 4)),
    ((0, -5), (5, 4), (-5, 4)),
    ((0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)),
    ((0, 5), (5, -4), (-5, -4)),
    tuple(
        (x, y)
        for x, y in zip(
            (-2, 2, 2, 5, 5, 2, 2, -2, -2, -5, -5, -2),
            (-5, -5, -2, -2, 2, 2, 5, 5, 2, 2, -2, -2),
            strict=True,
        )
    ),
)


@dataclass(frozen=True)
class Point:
    """A value with its interval's ends; said: what a pointer over it reads."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    said: str = ""


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    colour: the number of a colour of the page, or ``ink`` or ``faint``. shape: the number of a marker.
    under: the values behind a smoothed line, drawn thin.
    """

    label: str
    points: Sequence[Point]
    colour: int | str
    shape: int | None = None
    dashed: bool = False
    under: Sequence[Point] = ()


@dataclass(frozen=True)
class Axis:
    """low, high: its ends. ticks: values with their names."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Scale:
    """From values to places in a chart."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)


def line_chart(
    title: str, description: str, lines: Sequence[Line], x: Axis, y: Axis, zero: bool = False
) -> Html:
    """A chart whose lines carry their names at their ends.

    Args:
        title: names the chart for readers that do not see it.
        description: what the chart says, for the same readers.
        lines: in the order in which they are drawn.
        x: of all points.
        y: of all points.
        zero: whether a line marks 0.
    """
    across = Scale(x.low, x.high, _LEFT, WIDTH - _RIGHT)
    up = Scale(y.low, y.high, HEIGHT - _BOTTOM, _TOP)
    parts = [*_y_axis(y, up), *_x_axis(x, across)]
    if zero and y.low <= 0 <= y.high:
        parts.append(tag("line", class_="zero", x1=_LEFT, x2=WIDTH - _RIGHT, y1=up(0.0), y2=up(0.0)))
    parts += [_line(line, across, up) for line in lines]
    parts += _labels(lines, across, up)
    return drawing(title, description, parts, WIDTH, HEIGHT)


def drawing(
    title: str, description: str, parts: Sequence[Html], width: float, height: float, *, sized: bool = False
) -> Html:
    """A chart of its parts, with a name and what it says for readers that do not see it.

    Args:
        width, height: in units of which a character of its texts takes about 7.
        sized: whether it keeps this size in pixels; else it fills the room there is.
    """
    return tag(
        "svg",
        tag("title", title),
        tag("desc", description),
        *parts,
        class_="chart sized" if sized else "chart",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width if sized else None,
        height=height if sized else None,
        role="img",
    )


def text_width(text: str) -> float:
    """About how wide a text is."""
    return 7.0 * len(text)


def short(text: str, most: float) -> str:
    """As much of a text as has room; a chart's table has all of it."""
    kept = int(most / text_width("m"))
    return text if len(text) <= kept else f"{text[: max(1, kept - 1)]}…"


def _y_axis(axis: Axis, up: Scale) -> list[Html]:
    parts = []
    for value, name in axis.ticks:
        parts.append(tag("line", class_="grid", x1=_LEFT, x2=WIDTH - _RIGHT, y1=up(value), y2=up(value)))
        parts.append(tag("text", name, class_="tick", x=_LEFT - 7, y=up(value) + 4, text_anchor="end"))
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    turned = f"rotate(-90 11 {middle:.1f})"
    return [
        *parts,
        tag("text", axis.title, class_="axis", x=11, y=middle, text_anchor="middle", transform=turned),
    ]


def _x_axis(axis: Axis, across: Scale) -> list[Html]:
    bottom = HEIGHT - _BOTTOM
    parts = [tag("line", class_="base", x1=_LEFT, x2=WIDTH - _RIGHT, y1=bottom, y2=bottom)]
    for value, name in axis.ticks:
        parts.append(tag("text", name, class_="tick", x=across(value), y=bottom + 16, text_anchor="middle"))
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    return [*parts, tag("text", axis.title, class_="axis", x=middle, y=HEIGHT - 7, text_anchor="middle")]


def _line(line: Line, across: Scale, up: Scale) -> Html:
    places = [(across(p.x), up(p.y)) for p in line.points]
    parts = []
    if line.under:
        thin = [(across(p.x), up(p.y)) for p in line.under]
        parts.append(tag("polyline", class_="under", points=_path(thin)))
    for point, (x, _) in zip(line.points, places, strict=True):
        if point.low is not None and point.high is not None:
            parts.append(tag("line", class_="interval", x1=x, x2=x, y1=up(point.low), y2=up(point.high)))
    parts.append(tag("polyline", class_="line dashed" if line.dashed else "line", points=_path(places)))
    if line.shape is not None:
        for point, place in zip(line.points, places, strict=True):
            parts.append(marker(line.shape, place, point.said))
    return tag("g", *parts, class_=f"series c-{line.colour}")


def _path(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def marker(shape: int, place: tuple[float, float], said: str) -> Html:
    """The mark of a point; a pointer over it reads what is said."""
    x, y = place
    corners = _CORNERS[shape % len(_CORNERS)]
    title = tag("title", said)
    if not corners:
        return tag("circle", title, class_="marker", cx=x, cy=y, r=4)
    return tag("polygon", title, class_="marker", points=_path([(x + dx, y + dy) for dx, dy in corners]))


def _labels(lines: Sequence[Line], across: Scale, up: Scale) -> list[Html]:
    """Names beside the lines' ends, moved apart where they would overlap, and inside the chart."""
    ends = sorted((up(line.points[-1].y), place) for place, line in enumerate(lines) if line.points)
    wanted = spread([y for y, _ in ends], _LABEL_GAP)
    past = max([0.0, *([wanted[-1] - (HEIGHT - _BOTTOM)] if wanted else [])])
    edge = WIDTH - _RIGHT
    parts = []
    for (y, place), label_y in zip(ends, wanted, strict=True):
        line, shown = lines[place], label_y - past
        text = tag("text", line.label, class_="label", x=edge + 14, y=shown + 4)
        end = across(line.points[-1].x) + 4
        lead = tag(
            "polyline", class_="lead", points=_path([(end, y), (max(end, edge + 3), y), (edge + 11, shown)])
        )
        parts.append(tag("g", lead, text, class_=f"series c-{line.colour}"))
    return parts


def ticks(low: float, high: float, most: int = 6) -> list[tuple[float, str]]:
    """Round values between two ends."""
    span = high - low
    if not span > 0:
        return [(low, f"{low:g}")]
    step = 10.0 ** math.floor(math.log10(span / most))
    step = next(step * factor for factor in (1, 2, 5, 10, 20) if span / (step * factor) <= most)
    first = math.ceil(low / step - 1e-9)
    values = [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
    return [(value, f"{round(value, 10):g}") for value in values]
