"""Which rows of a cohort are read together: neighbours of like length, so that little is read in vain."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

_RUNS = 32  # of neighbours of one length, that are looked at for a segment


class Segment(NamedTuple):
    """Rows from `start` to `stop`, of each of which `room` keys are read."""

    start: int
    stop: int
    room: int


def segments(needed: Sequence[int], calls: int) -> list[Segment]:
    """Where all rows are read that have to be, at the least cost: keys of a row, and the calls of a segment.

    Args:
        needed: keys that each row has; 0 where it need not be read.
        calls: of a segment, as many keys as take as long.
    """
    runs = _runs(needed)
    costs, begins = [0], [0]
    for end in range(1, len(runs) + 1):
        room, best, begin = 0, 0, -1
        for first in range(end - 1, max(-1, end - 1 - _RUNS), -1):
            room = max(room, runs[first].room)
            cost = costs[first] + calls + (runs[end - 1].stop - runs[first].start) * room
            if begin < 0 or cost < best:
                best, begin = cost, first
        costs.append(best)
        begins.append(begin)
    found: list[Segment] = []
    end = len(runs)
    while end:
        part = runs[begins[end] : end]
        found.append(Segment(part[0].start, part[-1].stop, max(run.room for run in part)))
        end = begins[end]
    return found[::-1]


def _runs(needed: Sequence[int]) -> list[Segment]:
    found: list[Segment] = []
    start = 0
    for room, rows in itertools.groupby(needed):
        stop = start + len(list(rows))
        if room:
            found.append(Segment(start, stop, room))
        start = stop
    return found
