"""Ranges of numbers, with one wording for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lidr.errors import LidrError
from lidr.printable import short


def out_of_range(key: str, value: float | str, wanted: str) -> LidrError:
    """The error of a number that is not what it must be."""
    return LidrError(f"{short(value)} is out of range", where=key, instead=f"it must be {wanted}")


@dataclass(frozen=True)
class Range:
    """low to high; `open` leaves out low itself."""

    low: float
    high: float
    open: bool
    wanted: str

    def __call__(self, where: str, values: Mapping[str, float]) -> Iterator[LidrError]:
        """An error for each value outside, by its key below `where`."""
        for key, value in values.items():
            above = value > self.low if self.open else value >= self.low
            if not (above and value <= self.high and value < float("inf")):
                yield out_of_range(f"{where}.{key}" if where else key, value, self.wanted)


POSITIVE = Range(0, float("inf"), True, "greater than 0")
AT_LEAST_ZERO = Range(0, float("inf"), False, "0 or greater")
SHARE = Range(0, 1, False, "between 0 and 1")


def at_most(high: int) -> Range:
    """What a plan, a machine or a random generator could not hold beyond."""
    return Range(float("-inf"), high, True, f"at most {high}")
