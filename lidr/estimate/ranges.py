"""Low, expected and high: how a number is written that cannot be known exactly before a run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """A number, at least 0, between two ends."""

    low: float
    expected: float
    high: float

    @staticmethod
    def exact(value: float) -> Range:
        return Range(value, value, value)

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def __mul__(self, other: Range | float) -> Range:
        """End by end: both factors are low together, and high together."""
        by = other if isinstance(other, Range) else Range.exact(other)
        return Range(self.low * by.low, self.expected * by.expected, self.high * by.high)

    def __truediv__(self, divisor: float) -> Range:
        return Range(self.low / divisor, self.expected / divisor, self.high / divisor)

    def at_most(self, limit: float) -> Range:
        return Range(*(min(limit, v) for v in (self.low, self.expected, self.high)))

    def at_least(self, limit: float) -> Range:
        return Range(*(max(limit, v) for v in (self.low, self.expected, self.high)))

    @property
    def is_exact(self) -> bool:
        return self.low == self.high


NOTHING = Range.exact(0)


def total(values: Iterable[Range | None]) -> Range | None:
    """The sum; None, unknown, where a part of it is."""
    found = NOTHING
    for value in values:
        if value is None:
            return None
        found += value
    return found


def around(values: Iterable[float], drift: Range) -> Range:
    """The mean of what a sample was drawn from: the sample's, two standard errors to both sides, times the drift.

    Args:
        values: at least one; of a single one the standard error counts as half of it.
        drift: factors for what the sample does not show.
    """
    numbers = list(values)
    mean, error = sum(numbers) / len(numbers), 0.0
    if len(numbers) > 1:
        variance = sum((v - mean) ** 2 for v in numbers) / (len(numbers) - 1)
        error = math.sqrt(variance / len(numbers))
    else:
        error = mean / 2
    return Range(max(0.0, mean - 2 * error), mean, mean + 2 * error) * drift
