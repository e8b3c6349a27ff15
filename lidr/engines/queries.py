"""The tokens of a cohort that a pass computes, and which keys each of them sees."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lidr.engines.segments import segments

if TYPE_CHECKING:
    from lidr.engines.cohort import Cohort

BLOCK = 64  # tokens
# Of a layer's keys and values, that take as long to read as a segment's calls: by a CPU, and by a GPU (not measured).
_CALLS_BYTES, _CALLS_BYTES_GPU = 2**19, 2**27


class Alone:
    """Neighbours whose newest tokens are computed without guesses; they go through attention together.

    Attributes:
        rows: which of the cohort.
        room: keys that are read of each.
        taken: their tokens among the cohort's.
    """

    def __init__(
        self, rows: slice, room: int, places: Int[Tensor, " rows"], taken: slice | Int[Tensor, " rows"]
    ) -> None:
        self.rows, self.room, self.taken = rows, room, taken
        self._hidden = torch.arange(room, device=places.device) > places[:, None]
        self._mask: dict[torch.dtype, Tensor] = {}

    def mask(self, dtype: torch.dtype) -> Float[Tensor, "rows 1 room"]:
        """What is added to scores, so that a token sees itself and what comes before it."""
        found = self._mask.get(dtype)
        if found is None:
            zeros = torch.zeros(self._hidden.shape, dtype=dtype, device=self._hidden.device)
            found = self._mask[dtype] = zeros.masked_fill_(self._hidden, -torch.inf)[:, None]
        return found


class Ahead:
    """A row's newest token and the guesses behind it, which go through attention by themselves.

    Attributes:
        row: which of the cohort.
        start, count: its tokens among the cohort's.
        end: keys that the last of them sees.
    """

    def __init__(self, row: int, start: int, count: int, length: int) -> None:
        self.row, self.start, self.count, self.end = row, start, count, length + count
        self._masks: dict[int, Tensor] = {}

    def mask(self, heads: int, like: Tensor) -> Float[Tensor, "count*heads end"]:
        """What is added to scores, of so many heads of a token one after the other."""
        found = self._masks.get(heads)
        if found is None:
            hidden = like.new_full((self.count, self.end), -torch.inf).triu_(1 + self.end - self.count)
            found = self._masks[heads] = hidden.repeat_interleave(heads, 0)
        return found


class Queries:
    """Each row's newest token and the guesses behind it, row after row.

    Attributes:
        tokens, positions: of each, on the cohort's device.
        counts: of each row.
        alone: the rows without guesses, and maybe others, whose attention is to be computed once more.
        ahead: those with guesses.
    """

    def __init__(self, cohort: Cohort) -> None:
        self.counts = [1 + len(guesses) for guesses in cohort.guesses]
        starts = [0, *itertools.accumulate(self.counts)][:-1]
        self.cohort, self._device = cohort, cohort.tokens.device
        pairs = zip(cohort.newest, cohort.guesses, strict=True)
        self.tokens = self._integers(token for newest, more in pairs for token in (newest, *more))
        self._rows = self._integers(row for row, count in enumerate(self.counts) for _ in range(count))
        self.positions = self._integers(
            length + i
            for length, count in zip(cohort.lengths, self.counts, strict=True)
            for i in range(count)
        )
        each = zip(starts, self.counts, cohort.lengths, strict=True)
        self.ahead = [Ahead(row, *of) for row, of in enumerate(each) if of[1] > 1]
        self.alone = list(self._alone(starts))
        self._places: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def seen(self) -> Int[Tensor, "time seen"]:
        """The tokens of each one's row; guesses are among them, since they stood there before."""
        tokens = self.cohort.tokens
        return tokens[self._rows] if self.ahead else tokens

    def places(self, kv_heads: int) -> Int[Tensor, " time*kv_heads"]:
        """Where the keys of these tokens lie among all keys of a layer."""
        found = self._places.get(kv_heads)
        if found is None:
            heads = self._rows[:, None] * kv_heads + torch.arange(kv_heads, device=self._device)
            found = (heads * self.cohort.room + self.positions[:, None]).flatten()
            self._places[kv_heads] = found
        return found

    def _alone(self, starts: Sequence[int]) -> Iterator[Alone]:
        """In segments; a row with guesses within one is read in vain."""
        each = zip(self.cohort.lengths, self.counts, strict=True)
        needed = [rounded(length + 1) if count == 1 else 0 for length, count in each]
        calls = _CALLS_BYTES if self._device.type == "cpu" else _CALLS_BYTES_GPU
        for start, stop, room in segments(needed, calls // self.cohort.token_bytes):
            own = starts[start:stop]
            apart = own[-1] - own[0] > stop - start - 1
            taken = self._integers(own) if apart else slice(own[0], own[-1] + 1)
            yield Alone(slice(start, stop), room, self.positions[taken], taken)

    def _integers(self, values: Iterable[int]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.long, device=self._device)


def rounded(tokens: int) -> int:
    """Up to whole blocks."""
    return -(-tokens // BLOCK) * BLOCK
