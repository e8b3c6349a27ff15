"""A grid as Markdown, LaTeX (booktabs) and CSV; text of models can break none of them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lidr.files import write_text
from lidr.printable import file_name, inert
from lidr.report.grids import Grid

_MARKDOWN = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"} | {c: f"\\{c}" for c in "\\`*~$"}
)
_LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"}
)
# What makes a spreadsheet compute, in East Asian widths too; a line feed is passed over before it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write(grid: Grid, folder: Path) -> list[Path]:
    """Writes ``<name>.md``, ``.csv`` and ``.tex``; returns their paths."""
    texts = {"md": markdown(grid), "csv": to_csv(grid), "tex": latex(grid)}
    paths = []
    for suffix, text in texts.items():
        path = folder / f"{file_name(grid.name)}.{suffix}"
        write_text(path, text, sync=False)
        paths.append(path)
    return paths


def markdown(grid: Grid) -> str:
    """A GitHub table with its note."""
    align = ["---" if i == 0 else "---:" if _is_numeric(grid, i) else "---" for i in range(len(grid.header))]
    lines = [grid.header, tuple(align), *grid.rows]
    escape = [row if row is lines[1] else tuple(map(escape_markdown, row)) for row in lines]
    table = "\n".join("| " + " | ".join(row) + " |" for row in escape)
    return f"{table}\n" + (f"\n{escape_markdown(grid.note)}\n" if grid.note else "")


def _is_numeric(grid: Grid, column: int) -> bool:
    return all(re.match(r"\(?[-+<]?\d|-$|$", row[column]) for row in grid.rows)


def escape_markdown(text: str) -> str:
    """Plain text that shows as it is, on one line: no HTML, no markup, no broken table."""
    escaped = _flat(text).translate(_MARKDOWN)
    escaped = re.sub(r"\](?=[(\[:])", r"\\]", escaped)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped)


def latex(grid: Grid) -> str:
    """A booktabs table; needs ``\\usepackage{booktabs}``."""
    columns = "".join("l" if i == 0 or not _is_numeric(grid, i) else "r" for i in range(len(grid.header)))
    lines = [
        "% needs \\usepackage{booktabs}",
        f"% {_flat(grid.title)}",
        *([f"% {_flat(grid.note)}"] if grid.note else []),
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        _latex_row(grid.header),
        "\\midrule",
        *map(_latex_row, grid.rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(row: Sequence[str]) -> str:
    # An empty group in front: a row that begins with [ would be read as an argument of the \\ before it.
    return "{}" + " & ".join(map(escape_latex, row)) + " \\\\"


def escape_latex(text: str) -> str:
    """Plain text that LaTeX sets as it is."""
    return _flat(text).translate(_LATEX)


def _flat(text: str) -> str:
    """One line without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def to_csv(grid: Grid) -> str:
    """The numbers behind the grid in full precision, a row a number; else the grid's own text."""
    if grid.source is not None:
        return frame_to_csv(grid.source)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([map(harmless, row) for row in (grid.header, *grid.rows)])
    return buffer.getvalue()


def frame_to_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV; missing values are empty."""
    safe = frame.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = safe[column].map(harmless, na_action="ignore")
    text: str = safe.to_csv(index=False, lineterminator="\n")
    return text


def harmless(text: str) -> str:
    """Text that no spreadsheet runs as a formula, nor takes for a new row; numbers stay numbers.

    A carriage return would end a row, as the csv module quotes line feeds alone.
    """
    text = inert(text.replace("\r\n", "\n").replace("\r", "\n"))
    if not text.startswith(_FORMULA) or text == "-":
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
