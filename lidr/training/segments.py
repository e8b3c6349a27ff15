"""Which tokens of a packed row belong together.

A packed row holds several sequences one after the other. Each *segment* is a run of tokens that attends causally
to itself and, where it continues a shared prompt, to all of that prompt (its *prefix*), and to nothing else. A
pair with a shared prompt is [prompt | chosen | rejected]: one segment [prompt | chosen] without a prefix, and one
[rejected] whose prefix is the prompt (prefix sharing, arXiv 2410.20305).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Segment(NamedTuple):
    """Tokens start..end of a row, and the tokens prefix..prefix_end they attend to besides themselves."""

    start: int
    end: int
    prefix: int
    prefix_end: int

    @property
    def keys(self) -> int:
        """Tokens its last token attends to."""
        return self.end - self.start + self.prefix_end - self.prefix


BLOCK = 128  # queries


class Block(NamedTuple):
    """Consecutive queries that are computed together.

    Attributes:
        start, end: the queries.
        keys: how many of its part's keys some of them see, from the first on.
        mask: what is added to the scores of the last of these keys; the other ones are seen by all.
    """

    start: int
    end: int
    keys: int
    mask: Float[Tensor, "queries last_keys"]

    def __len__(self) -> int:
        return self.end - self.start


class Part(NamedTuple):
    """Queries that see the same keys, but for what is masked.

    Attributes:
        ranges: the keys, in the row.
        blocks: the queries.
    """

    ranges: tuple[tuple[int, int], ...]
    blocks: tuple[Block, ...]

    def keys(self, tensor: Tensor, dim: int) -> Tensor:
        """Of a tensor with the row's tokens along a dimension, those of its keys."""
        parts = [tensor.narrow(dim, start, end - start) for start, end in self.ranges]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)

    def add(self, total: Float[Tensor, "heads width time"], share: Float[Tensor, "heads width keys"]) -> None:
        """Adds what belongs to its keys."""
        done = 0
        for start, end in self.ranges:
            total[:, :, start:end].add_(share[:, :, done : done + end - start])
            done += end - start


class Tables(NamedTuple):
    """The segments of a row as a variable-length kernel wants them.

    Attributes:
        query_ends, key_ends: cumulative queries and keys of the segments, from 0 on.
        key_index: the row's position of each key, prefixes repeated for every segment that has them.
    """

    query_ends: Int[Tensor, " segments+1"]
    key_ends: Int[Tensor, " segments+1"]
    key_index: Int[Tensor, " keys"]


class Segments:
    """The segments of a packed row, as the attention kernels want them.

    Attributes:
        list: in the row's order; together they cover it once.
        longest_query, longest_key: most queries and most keys of a segment.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.list = tuple(segments)
        self._parts: dict[torch.dtype, tuple[Part, ...]] = {}
        self.longest_query = max(s.end - s.start for s in segments)
        self.longest_key = max(s.keys for s in segments)

    @cached_property
    def tables(self) -> Tables:
        queries, keys = [s.end - s.start for s in self.list], [s.keys for s in self.list]
        parts = [part for s in self.list for part in ((s.prefix, s.prefix_end), (s.start, s.end))]
        return Tables(_ends(queries), _ends(keys), torch.cat([torch.arange(*part) for part in parts]))

    def to(self, device: torch.device) -> Segments:
        """With the tables on a device, which the CPU has no use for; the rest stays in the host's memory."""
        if device.type == "cpu":
            return self
        moved = Segments(self.list)
        moved.tables = Tables(*(table.to(device, non_blocking=True) for table in self.tables))
        return moved

    def parts(self, dtype: torch.dtype) -> tuple[Part, ...]:
        """A long segment is a part of its own, short ones share one; the masks are of the given precision."""
        if dtype not in self._parts:
            self._parts[dtype] = tuple(_parts(self.list, dtype))
        return self._parts[dtype]


def _parts(segments: Sequence[Segment], dtype: torch.dtype) -> Iterator[Part]:
    group: list[Segment] = []
    for segment in segments:
        starts = group[0].start if group else segment.start
        if segment.end - starts > BLOCK or segment.prefix < starts:
            yield from _together(group, dtype)
            group, starts = [], segment.start
        if segment.end - starts > BLOCK or segment.prefix < starts:
            yield _apart(segment, dtype)
        else:
            group.append(segment)
    yield from _together(group, dtype)


def _ends(lengths: Sequence[int]) -> Int[Tensor, " segments+1"]:
    return torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)


def _together(group: Sequence[Segment], dtype: torch.dtype) -> list[Part]:
    """One block for segments whose prefixes are among them."""
    if not group:
        return []
    first, last = group[0].start, group[-1].end
    mask = torch.full((last - first, last - first), -torch.inf, dtype=dtype)
    for segment in group:
        rows = slice(segment.start - first, segment.end - first)
        mask[rows, rows] = _causal(segment.end - segment.start, dtype)
        mask[rows, segment.prefix - first : segment.prefix_end - first] = 0.0
    return [Part(((first, last),), (Block(first, last, last - first, mask),))]


def _apart(segment: Segment, dtype: torch.dtype) -> Part:
    """One segment, in blocks; each sees the prefix, the segment before it, and causally itself."""
    prefix = segment.prefix_end - segment.prefix
    blocks = []
    for start in range(segment.start, segment.end, BLOCK):
        end = min(start + BLOCK, segment.end)
        blocks.append(Block(start, end, prefix + end - segment.start, _causal(end - start, dtype)))
    own = (segment.start, segment.end)
    return Part(((segment.prefix, segment.prefix_end), own) if prefix else (own,), tuple(blocks))


def _causal(length: int, dtype: torch.dtype) -> Float[Tensor, "length length"]:
    return torch.full((length, length), -torch.inf, dtype=dtype).triu(1)
