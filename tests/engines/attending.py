"""What a pass gives the newest tokens of some rows, and the same by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lidr.engines.cached_attention import Pass
from lidr.engines.cohort import Cohort
from lidr.engines.queries import Queries

LENGTHS = [70, 30, 65, 5, 300]
SCALE = 0.25


def attended(
    made: Callable[[Sequence[Queries]], Pass],
    guesses: Sequence[int],
    dtype: torch.dtype,
    rows: slice = slice(None),
    heads: tuple[int, int] = (6, 2),
    width: int = 32,
    most: int = 31,
) -> tuple[Tensor, Tensor]:
    """Row after row, and each token of it after the other; by hand in fp64.

    Args:
        guesses: of each row.
        heads: of queries, and of keys.
        most: guesses that values are drawn for, so that a row's do not depend on how many it has.
    """
    generator = torch.Generator().manual_seed(0)
    longest, (query_heads, kv_heads) = max(LENGTHS) + most + 1, heads
    keys, values = (torch.randn(5, kv_heads, longest, width, generator=generator).to(dtype) for _ in range(2))
    query = torch.randn(5, most + 1, query_heads, width, generator=generator).to(dtype)
    cohort = Cohort([[1] * length for length in LENGTHS[rows]], torch.device("cpu"))
    cohort.newest = [2] * len(cohort)
    cohort.guesses = [[1] * count for count in guesses[rows]]
    kept = cohort.begin_layer(0, keys[0].transpose(0, 1))
    new: list[tuple[Tensor, Tensor, Tensor]] = []
    expected: list[Tensor] = []
    for place, row in enumerate(range(5)[rows]):
        length, count = LENGTHS[row], 1 + guesses[row]
        for own, whole in zip(kept, (keys, values), strict=True):
            own[place, :, :length] = whole[row, :, :length]
        k, v = (t[row, :, length : length + count].transpose(0, 1) for t in (keys, values))
        new.append((query[row, :count], k, v))
        expected += [
            by_hand(query[row, i], keys[row, :, : length + i + 1], values[row, :, : length + i + 1])
            for i in range(count)
        ]
    q, k, v = (torch.cat(parts) for parts in zip(*new, strict=True))
    return made([cohort.queries()]).attend(0, q, k, v, SCALE), torch.stack(expected)


def by_hand(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """(heads, width), twice (kv_heads, seen, width) -> (heads, width)."""
    k, v = (t.double().repeat_interleave(len(query) // len(keys), 0) for t in (keys, values))
    weights = (torch.einsum("hw,hkw->hk", query.double(), k) * SCALE).softmax(-1)
    return torch.einsum("hk,hkw->hw", weights, v)
