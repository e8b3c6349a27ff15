"""Heat maps as inline SVG: a stronger colour is more, and every cell says its number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lidr.report.page.markup import Html, tag
from lidr.report.page.svg import WIDTH, drawing, short, text_width

_HEIGHT = 40.0  # of a row
_LEAST = 52.0  # width of a column, in which a number has room
_TOP, _RIGHT, _TITLE = 6.0, 8.0, 24.0
_MOST_LABEL = 112.0
# Opacity of the least and the greatest: up to there text has a contrast of 4.5 on it in light and dark.
_FAINT, _STRONG = 0.05, 0.5


@dataclass(frozen=True)
class Cell:
    """value: what its colour says, None for a setting there is no number of. text: in it; said: read by a pointer."""

    value: float | None
    text: str
    said: str


@dataclass(frozen=True)
class Side:
    """A title and the names of its values."""

    title: str
    names: Sequence[str]

    @property
    def room(self) -> float:
        """Of the longest name."""
        return min(_MOST_LABEL, max(map(text_width, self.names)))


def heat_chart(
    title: str, x: Side, y: Side, cells: Sequence[Sequence[Cell]], ends: tuple[float, float]
) -> tuple[Html, bool]:
    """A cell for each pair of values.

    Args:
        title: names the chart for readers that do not see it.
        x: the columns.
        y: the rows.
        cells: a row for each value of y.
        ends: the values of the faintest and the strongest colour.

    Returns:
        The chart, and whether it is wider than others, and keeps its size.
    """
    left = _TITLE + y.room + 8
    width = max(_LEAST, (WIDTH - left - _RIGHT) / len(x.names))
    turned = any(text_width(name) > width for name in x.names)
    bottom = _TOP + _HEIGHT * len(y.names)
    height = bottom + (12 + 0.5 * x.room if turned else 22) + 24
    whole = left + width * len(x.names) + _RIGHT
    parts = [
        *(
            _cell(cell, (left + column * width, _TOP + row * _HEIGHT), width, ends)
            for row, own in enumerate(cells)
            for column, cell in enumerate(own)
        ),
        *_columns(x, left, width, bottom, turned),
        *(
            tag(
                "text",
                short(name, _MOST_LABEL),
                class_="tick",
                x=left - 8,
                y=_TOP + (row + 0.5) * _HEIGHT + 4,
                text_anchor="end",
            )
            for row, name in enumerate(y.names)
        ),
        tag("text", x.title, class_="axis", x=(left + whole) / 2, y=height - 7, text_anchor="middle"),
        _turned_title(y.title, (_TOP + bottom) / 2),
    ]
    said = "; ".join(cell.said for own in cells for cell in own)
    is_wide = whole > WIDTH
    return drawing(title, said, parts, whole, height, sized=is_wide), is_wide


def _cell(cell: Cell, place: tuple[float, float], width: float, ends: tuple[float, float]) -> Html:
    x, y = place
    box = {"x": x + 1, "y": y + 1, "width": width - 2, "height": _HEIGHT - 2}
    middle = {"x": x + width / 2, "y": y + _HEIGHT / 2 + 4}
    if cell.value is None:
        return tag(
            "g",
            tag("title", cell.said),
            tag("rect", class_="no-cell", **box),
            tag("text", cell.text, class_="tick", text_anchor="middle", **middle),
        )
    share = (cell.value - ends[0]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 1.0
    opacity = f"{_FAINT + (_STRONG - _FAINT) * share:.3f}"
    return tag(
        "g",
        tag("title", cell.said),
        tag("rect", class_="cell", fill_opacity=opacity, **box),
        tag("text", cell.text, class_="cell-text", text_anchor="middle", **middle),
    )


def _columns(side: Side, left: float, width: float, bottom: float, turned: bool) -> Iterator[Html]:
    """The names below the columns, slanting where they are wider than these."""
    for column, name in enumerate(side.names):
        x, y = left + (column + 0.5) * width, bottom + 16
        slant = {"text_anchor": "end", "transform": f"rotate(-30 {x:.1f} {y:.1f})"}
        yield tag(
            "text",
            short(name, _MOST_LABEL),
            class_="tick",
            x=x,
            y=y,
            **(slant if turned else {"text_anchor": "middle"}),
        )


def _turned_title(title: str, middle: float) -> Html:
    turn = f"rotate(-90 11 {middle:.1f})"
    return tag("text", title, class_="axis", x=11, y=middle, text_anchor="middle", transform=turn)
