"""Numbers, bytes and times as people read them."""

from __future__ import annotations

from collections.abc import Callable

from lidr.estimate.ranges import Range

UNKNOWN = "unknown"
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SECONDS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def number(value: float) -> str:
    """A count: exact below ten thousand."""
    unit, letter = next(((u, x) for u, x in _UNITS if value >= u), (1.0, ""))
    return f"{value:.0f}" if value < 1e4 else f"{_three(value / unit)}{letter}"


def size(value: float) -> str:
    """Bytes."""
    unit, letter = next(((u, x) for u, x in _UNITS if value >= u), (1.0, ""))
    return f"{_three(value / unit)} {letter}B"


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days."""
    unit, name = next(((u, x) for u, x in _SECONDS if seconds >= u), (1.0, "s"))
    return f"{seconds / unit:.1f} {name}" if seconds < 10 * unit else f"{seconds / unit:.0f} {name}"


def money(value: float) -> str:
    return f"{value:,.2f}" if value >= 1 else f"{value:.3g}"


def ends(value: Range | None, write: Callable[[float], str]) -> str:
    """Expected, and [low, high] where the two are not written alike; a unit that all share stands once."""
    if value is None:
        return UNKNOWN
    low, expected, high = write(value.low), write(value.expected), write(value.high)
    if low == high:
        return expected
    unit = expected.partition(" ")[2]
    if unit and low.endswith(f" {unit}") and high.endswith(f" {unit}"):
        low, expected, high = (text.removesuffix(f" {unit}") for text in (low, expected, high))
        return f"{expected} [{low}, {high}] {unit}"
    return f"{expected} [{low}, {high}]"


def _three(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
