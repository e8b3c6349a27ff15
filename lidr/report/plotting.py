"""The look of all figures: one palette, direct labels, bytes that depend on the numbers alone."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lidr.files import write_bytes
from lidr.printable import file_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which the common forms of colour blindness keep apart; yellow is left out on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
BLACK, GREY = "#000000", "#6E6E6E"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
SYNTHETIC = "synthetic lab world"
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
_NO_DATES: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}


class Label(NamedTuple):
    """A name beside the end of a line."""

    y: float
    text: str
    color: str


@contextmanager
def plotting_style() -> Iterator[None]:
    """The style, for the length of a ``with`` block; matplotlib's own settings come back after it."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]
        yield


def subplots(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure of panels, each `width` by `height` inches, on the Agg canvas; the axes are a 2-D array."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Writes ``<name>.png`` and ``<name>.pdf`` without dates and program versions."""
    paths = []
    for suffix, metadata in _NO_DATES.items():
        path = folder / f"{file_name(name)}.{suffix}"
        drawn = io.BytesIO()  # matplotlib's own files end a full disk with another error
        figure.savefig(drawn, format=suffix, metadata=metadata)
        write_bytes(path, drawn.getvalue(), sync=False)
        paths.append(path)
    return paths


def place_labels(axes: Axes, labels: Sequence[Label]) -> None:
    """Names lines at the right edge, moved apart where they would overlap; call it when the limits stand."""
    low, high = axes.get_ylim()
    height = axes.get_position().height * axes.figure.get_size_inches()[1]  # type: ignore[union-attr]
    gap = (high - low) * 0.16 / height
    ordered = sorted(labels, key=lambda label: (label.y, label.text))
    for label, y in zip(ordered, spread([label.y for label in ordered], gap), strict=True):
        axes.annotate(
            label.text,
            xy=(1.0, label.y),
            xytext=(1.035, y),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            color=label.color,
            va="center",
            fontsize=8.5,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": label.color,
                "linewidth": 0.6,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Sorted positions moved apart to `gap`, each cluster around its own centre."""
    groups: list[list[float]] = []
    for value in values:
        groups.append([value])
        while len(groups) > 1 and _bottom(groups[-1], gap) - _top(groups[-2], gap) < gap:
            last = groups.pop()
            groups[-1] += last
    return [_bottom(group, gap) + i * gap for group in groups for i in range(len(group))]


def _bottom(group: Sequence[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def _top(group: Sequence[float], gap: float) -> float:
    return sum(group) / len(group) + gap * (len(group) - 1) / 2
