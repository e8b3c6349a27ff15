"""Rows that are read together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lidr.engines.segments import Segment, segments


def cost(found: list[Segment], calls: int) -> int:
    return sum(calls + (own.stop - own.start) * own.room for own in found)


def cheapest(needed: list[int], calls: int) -> int:
    """Of every way to cut the rows into segments, by trying each."""
    if not any(needed):
        return 0
    return min(
        calls + stop * max(needed[:stop]) + cheapest(needed[stop:], calls)
        if any(needed[:stop])
        else cheapest(needed[stop:], calls)
        for stop in range(1, len(needed) + 1)
    )


def test_by_hand() -> None:
    assert segments([128, 128, 64], 1) == [Segment(0, 2, 128), Segment(2, 3, 64)]
    assert segments([128, 128, 64], 64) == [Segment(0, 2, 128), Segment(2, 3, 64)]
    assert segments([128, 128, 64], 65) == [Segment(0, 3, 128)]
    assert segments([64, 0, 64], 63) == [Segment(0, 1, 64), Segment(2, 3, 64)]
    assert segments([64, 0, 64], 65) == [Segment(0, 3, 64)]
    assert segments([0, 64, 0], 1) == [Segment(1, 2, 64)]
    assert segments([0, 0], 1) == segments([], 1) == []


@given(st.lists(st.sampled_from([0, 64, 128, 320]), max_size=9), st.integers(1, 400))
def test_every_row_is_read_once_at_the_least_cost(needed: list[int], calls: int) -> None:
    found = segments(needed, calls)
    rows = [row for own in found for row in range(own.start, own.stop)]
    assert rows == sorted(set(rows))
    assert all(
        any(own.start <= row < own.stop and own.room >= n for own in found)
        for row, n in enumerate(needed)
        if n
    )
    assert cost(found, calls) == cheapest(needed, calls)
