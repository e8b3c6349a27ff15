"""Rows in places that stay: a CUDA graph reads and writes the same memory in every pass."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from lidr.engines.cohort import Cohort, KeysValues
from lidr.engines.queries import rounded


class Slots(Cohort):
    """Rows that are answered together, in the first places of as many as there can be.

    Args:
        places: rows at most.
        room: tokens of a row at most, prompt and answer.
    """

    def __init__(self, places: int, room: int, device: torch.device) -> None:
        self.lengths, self.newest, self.guesses = [], [], []
        self.places, self.room = places, rounded(room + 1)
        self._tokens = torch.zeros(places, self.room, dtype=torch.long, device=device)
        self.layers = {}

    @property
    def tokens(self) -> Int[Tensor, "rows room"]:  # type: ignore[override]
        """Prompt and answer of each row; past its end the row's first token stands."""
        return self._tokens[: len(self)]

    def join(self, other: Cohort) -> list[int]:
        """Takes over the rows of another cohort, behind its own; see `Cohort.join`."""
        if not self.layers:
            self.layers = {layer: self._empty(kept) for layer, kept in other.layers.items()}
        begin, end = len(self), len(self) + len(other)
        self._tokens[begin:end] = other.tokens[:, :1]
        self._tokens[begin:end, : other.room] = other.tokens
        places, sources = [], []
        for layer, kept in other.layers.items():
            places += [t[begin:end, :, : other.room] for t in self.layers[layer]]
            sources += list(kept)
        torch._foreach_copy_(places, sources)
        self.lengths += other.lengths
        self.newest += other.newest
        self.guesses += other.guesses
        return list(range(end))

    def drop(self, row: int) -> None:
        """Takes a row out; the last one takes its place."""
        last = len(self) - 1
        if row != last:
            kept = [t for pair in self.layers.values() for t in pair]
            length = rounded(self.lengths[last])
            places, sources = ([t[at, :, :length] for t in kept] for at in (row, last))
            torch._foreach_copy_(places, sources)
            self._tokens[row] = self._tokens[last]
        for own in (self.lengths, self.newest):
            own[row] = own[last]
            own.pop()
        self.guesses.pop()

    def _empty(self, like: KeysValues) -> KeysValues:
        _, kv_heads, _, width = like.keys.shape
        return KeysValues(*(t.new_zeros(self.places, kv_heads, self.room, width) for t in like))
