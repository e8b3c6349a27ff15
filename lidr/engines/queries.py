"""The tokens of a cohort that a pass computes, and which keys each of them sees."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from lidr.engines.cohort import Cohort

BLOCK = 64  # tokens


class Queries:
    """Each row's newest token and the guesses behind it, row after row.

    Attributes:
        tokens, positions: of each, on the cohort's device.
        counts: of each row.
        starts: where the tokens of each row begin, and where the last one's end.
        lengths: keys that each row had before.
    """

    def __init__(self, cohort: Cohort) -> None:
        self.cohort, self._device = cohort, cohort.tokens.device
        self.counts = [1 + len(guesses) for guesses in cohort.guesses]
        self.starts = self._integers([0, *itertools.accumulate(self.counts)])
        self.lengths = self._integers(cohort.lengths)
        pairs = zip(cohort.newest, cohort.guesses, strict=True)
        self.tokens = self._integers(token for newest, more in pairs for token in (newest, *more))
        self._rows = self._integers(row for row, count in enumerate(self.counts) for _ in range(count))
        each = zip(cohort.lengths, self.counts, strict=True)
        self.positions = self._integers(length + i for length, count in each for i in range(count))
        self._places: dict[int, Tensor] = {}
        self._masks: dict[torch.dtype, Tensor] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def seen(self) -> Int[Tensor, "time seen"]:
        """The tokens of each one's row; guesses are among them, since they stood there before."""
        tokens = self.cohort.tokens
        return tokens if len(self) == len(tokens) else tokens[self._rows]

    def places(self, kv_heads: int) -> Int[Tensor, " time*kv_heads"]:
        """Where the keys of these tokens lie among all keys of a layer."""
        found = self._places.get(kv_heads)
        if found is None:
            heads = self._rows[:, None] * kv_heads + torch.arange(kv_heads, device=self._device)
            found = (heads * self.cohort.room + self.positions[:, None]).flatten()
            self._places[kv_heads] = found
        return found

    def mask(self, dtype: torch.dtype) -> Float[Tensor, "rows 1 room"]:
        """What is added to scores of rows without guesses, so that a token sees itself and what comes before it."""
        found = self._masks.get(dtype)
        if found is None:
            hidden = torch.arange(self.cohort.room, device=self._device) > self.positions[:, None]
            zeros = torch.zeros(hidden.shape, dtype=dtype, device=self._device)
            found = self._masks[dtype] = zeros.masked_fill_(hidden, -torch.inf)[:, None]
        return found

    def _integers(self, values: Iterable[int]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.long, device=self._device)


def rounded(tokens: int) -> int:
    """Up to whole blocks."""
    return -(-tokens // BLOCK) * BLOCK
