"""``report.html``: the report as one file that shows results, curves and texts, and asks nothing of the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lidr.files import write_text
from lidr.report.page.collect import collect
from lidr.report.page.document import document
from lidr.report.page.selection import Limits
from lidr.report.runs import Run
from lidr.report.sections import Section

__all__ = ["Limits", "write_page"]


def write_page(
    path: Path,
    runs: Sequence[Run],
    frame: pd.DataFrame,
    sections: Sequence[Section],
    limits: Limits | None = None,
) -> None:
    """Writes the page, atomically. The same runs give the same bytes.

    Args:
        path: of the HTML file.
        runs: one run, or several to compare.
        frame: their tidy frame.
        sections: of the report.
        limits: the most texts it holds.

    Raises:
        LidrError: a line of a run's file is not readable; names file and line.
        FullDiskError: there is no room for the file.
    """
    text = document(runs, frame, sections, collect(runs, limits or Limits()))
    write_text(path, text, sync=False)
