"""The tokens of a cohort that a pass computes, and which keys each of them sees."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from lidr.engines.cohort import Cohort

_FEWEST = 4  # queries of a row with guesses: sums of fewer are made in another order


class Group:
    """Rows whose queries go through attention together, each row as many as the others.

    Attributes:
        rows: which of the cohort; None for all of it.
        taken: its queries among the cohort's tokens; a row that has fewer repeats its first. None for all of them,
            one for each row.
        wanted: which of rows * queries go where `put` says, among the cohort's tokens.
    """

    def __init__(
        self,
        room: int,
        places: Tensor,
        rows: Tensor | None = None,
        taken: Int[Tensor, "rows queries"] | None = None,
        wanted: Tensor | None = None,
    ) -> None:
        self.rows, self.taken, self.wanted = rows, taken, wanted
        self.put = None if taken is None else taken.flatten()[wanted]
        self._hidden = torch.arange(room, device=places.device) > places[..., None]
        self._mask: dict[torch.dtype, Tensor] = {}

    def mask(self, dtype: torch.dtype) -> Float[Tensor, "rows 1 1 queries room"]:
        """What is added to scores, so that a token sees itself and what comes before it."""
        found = self._mask.get(dtype)
        if found is None:
            zeros = torch.zeros(self._hidden.shape, dtype=dtype, device=self._hidden.device)
            found = self._mask[dtype] = zeros.masked_fill_(self._hidden, -torch.inf)[:, None, None]
        return found


class Queries:
    """Each row's newest token and the guesses behind it, row after row.

    Attributes:
        tokens, positions: of each, on the cohort's device.
        counts: of each row.
        groups: in the order in which their attention is computed; a later one's is what counts.
    """

    def __init__(self, cohort: Cohort) -> None:
        self.counts = [1 + len(guesses) for guesses in cohort.guesses]
        self._starts = [0, *itertools.accumulate(self.counts)][:-1]
        self.cohort, self._device = cohort, cohort.tokens.device
        pairs = zip(cohort.newest, cohort.guesses, strict=True)
        self.tokens = self._integers(token for newest, more in pairs for token in (newest, *more))
        self._rows = self._integers(row for row, count in enumerate(self.counts) for _ in range(count))
        self.positions = self._integers(
            length + i
            for length, count in zip(cohort.lengths, self.counts, strict=True)
            for i in range(count)
        )
        self.groups = list(self._divided())
        self._places: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def places(self, kv_heads: int) -> Int[Tensor, " time*kv_heads"]:
        """Where the keys of these tokens lie among all keys of a layer."""
        found = self._places.get(kv_heads)
        if found is None:
            heads = self._rows[:, None] * kv_heads + torch.arange(kv_heads, device=self._device)
            found = (heads * self.cohort.room + self.positions[:, None]).flatten()
            self._places[kv_heads] = found
        return found

    def _divided(self) -> Iterable[Group]:
        """Rows without guesses apart from those with some, by how many; a part reads a copy of its keys and values."""
        every = len(self.counts)
        alone = [row for row, count in enumerate(self.counts) if count == 1]
        if len(alone) == every:
            yield Group(self.cohort.room, self.positions[:, None])
            return
        if alone:
            yield self._group(range(every) if 2 * len(alone) >= every else alone, 1)
        sizes = {row: _filled_up(count) for row, count in enumerate(self.counts) if count > 1}
        for size in sorted(set(sizes.values())):
            yield self._group([row for row in sizes if sizes[row] == size], size)

    def _group(self, rows: Sequence[int], queries: int) -> Group:
        asked = [min(self.counts[row], queries) for row in rows]
        taken = [
            self._starts[row] + (i if i < count else 0)
            for row, count in zip(rows, asked, strict=True)
            for i in range(queries)
        ]
        index = self._integers(taken).view(len(rows), queries)
        chosen = None if len(rows) == len(self.counts) else self._integers(rows)
        wanted = self._integers(n * queries + i for n, count in enumerate(asked) for i in range(count))
        return Group(self.cohort.room, self.positions[index], chosen, index, wanted)

    def _integers(self, values: Iterable[int]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.long, device=self._device)


def _filled_up(count: int) -> int:
    """To a power of two, so that few calls are made and few sums in vain."""
    return max(_FEWEST, 1 << (count - 1).bit_length())
