"""Which tokens of a packed row belong together.

A packed row holds several sequences one after the other. Each *segment* is a run of tokens that attends causally
to itself and, where it continues a shared prompt, to all of that prompt (its *prefix*), and to nothing else. A
pair with a shared prompt is [prompt | chosen | rejected]: one segment [prompt | chosen] without a prefix, and one
[rejected] whose prefix is the prompt (prefix sharing, arXiv 2410.20305).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
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


class Segments(NamedTuple):
    """The segments of a packed row, as tables for the attention kernels.

    Attributes:
        table: the columns of `Segment`; in the host's memory whatever the device, since kernels are launched by it.
        query_ends, key_ends: cumulative queries and keys of the segments, from 0 on.
        key_index: the row's position of each key, prefixes repeated for every segment that has them.
    """

    table: Int[Tensor, "segments 4"]
    query_ends: Int[Tensor, " segments+1"]
    key_ends: Int[Tensor, " segments+1"]
    key_index: Int[Tensor, " keys"]

    @staticmethod
    def of(segments: Sequence[Segment]) -> Segments:
        queries = torch.tensor([0, *(s.end - s.start for s in segments)], dtype=torch.int32)
        keys = torch.tensor([0, *(s.keys for s in segments)], dtype=torch.int32)
        index = [
            torch.arange(*part) for s in segments for part in ((s.prefix, s.prefix_end), (s.start, s.end))
        ]
        return Segments(
            table=torch.tensor([tuple(s) for s in segments]),
            query_ends=queries.cumsum(0, dtype=torch.int32),
            key_ends=keys.cumsum(0, dtype=torch.int32),
            key_index=torch.cat(index),
        )

    def to(self, device: torch.device) -> Segments:
        if device.type == "cpu":
            return self
        ends, keys, index = (t.to(device, non_blocking=True) for t in self[1:])
        return Segments(self.table, ends, keys, index)
