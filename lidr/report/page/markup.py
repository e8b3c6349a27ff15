"""HTML and SVG from Python: whatever is not marked as markup is escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from lidr.report.grids import Grid
from lidr.report.page.embed import escape

_VOID = frozenset({"meta", "input", "br"})
_NUMERIC = re.compile(r"[-+<]?\d|-$|$")
Attribute = str | float | bool | None
Cell = Callable[[int, int], "str | None"]


class Html(str):
    """Markup that is written as it is."""


def tag(name: str, /, *children: str, **attributes: Attribute) -> Html:
    """An element. Text among `children` and every attribute is escaped.

    Args:
        name: of the element.
        children: text, or `Html`.
        attributes: None and False leave one out, True writes it without a value; ``class_`` is ``class``,
            ``aria_label`` is ``aria-label``.
    """
    head = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{head}>")
    return Html(f"<{name}{head}>{join(children)}</{name}>")


def join(children: Sequence[str], between: str = "") -> Html:
    """Text and markup in a row."""
    return Html(between.join(child if isinstance(child, Html) else escape(child) for child in children))


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    return f' {name}="{escape(value if isinstance(value, str) else number(value))}"'


def number(value: float) -> str:
    """A coordinate, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def inline(text: str) -> Html:
    """A sentence with Markdown's ``**strong**`` and ```code```."""
    parts = re.split(r"(\*\*[^*]+\*\*|`[^`]+`)", text)
    return join(
        [
            tag("strong", part[2:-2])
            if part.startswith("**")
            else tag("code", part[1:-1])
            if part.startswith("`")
            else part
            for part in parts
        ]
    )


def table(grid: Grid, link: Cell | None = None) -> Html:
    """A table with its caption and note, in a box of its own that scrolls sideways where the page is narrow.

    Args:
        grid: its cells.
        link: the address of a body cell by row and column, None where it has none.
    """
    numeric = [all(_NUMERIC.match(row[i]) for row in grid.rows) and i > 0 for i in range(len(grid.header))]
    head = [tag("th", name, scope="col", class_=_aligned(numeric[i])) for i, name in enumerate(grid.header)]
    body = [tag("tr", *_cells(row, number, numeric, link)) for number, row in enumerate(grid.rows)]
    element = tag(
        "table",
        tag("caption", grid.title),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
    )
    box = tag("div", element, class_="scroll", role="region", aria_label=grid.title, tabindex=0)
    return join([box, tag("p", grid.note, class_="note")]) if grid.note else box


def _cells(row: Sequence[str], number: int, numeric: Sequence[bool], link: Cell | None) -> list[Html]:
    cells = [tag("th", row[0], scope="row")]
    for column, text in enumerate(row[1:], start=1):
        address = link(number, column) if link else None
        content = tag("a", text, href=address) if address else text
        cells.append(tag("td", content, class_=_aligned(numeric[column])))
    return cells


def _aligned(is_numeric: bool) -> str | None:
    return "number" if is_numeric else None
