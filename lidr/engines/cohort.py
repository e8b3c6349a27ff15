"""Answers that were begun together: their tokens, and the keys and values that attention has seen of them.

Rows of like length lie in one cohort, so that attention over it, rectangular, computes little in vain, and no row
is ever moved because another one ended. A cohort's room is a multiple of `BLOCK`: a key's place in the
reductions of the kernels is then the same whatever else is in the cohort, and an answer does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lidr.engines.queries import Queries, rounded

_AHEAD = 4  # passes with as many guesses that room is made for: to make room is to copy all


class KeysValues(NamedTuple):
    """What a layer has seen of each row."""

    keys: Float[Tensor, "rows kv_heads room width"]
    values: Float[Tensor, "rows kv_heads room width"]


class Prefix:
    """Tokens that prompts begin with, and their keys and values by layer, of one row."""

    def __init__(self, ids: Sequence[int], layers: dict[int, KeysValues]) -> None:
        self.ids, self.layers = tuple(ids), layers

    def __len__(self) -> int:
        return len(self.ids)


NO_PREFIX = Prefix((), {})


class Cohort:
    """Rows that are answered together.

    Attributes:
        lengths: tokens of each row whose keys and values are there.
        newest: the token of each row that comes next and has none yet.
        guesses: tokens that may stand behind it, for the next pass to look at; none after one.
        tokens: prompt and answer of each row; past its end the row's first token stands.
        layers: by layer index, filled by the first forward pass.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], device: torch.device) -> None:
        self.lengths = [len(p) for p in prompts]
        self.newest: list[int] = []
        self.guesses: list[Sequence[int]] = [()] * len(prompts)
        self.room = rounded(max(self.lengths) + 1)
        padded = [[*p, *([p[0]] * (self.room - len(p)))] for p in prompts]
        self.tokens: Int[Tensor, "rows room"] = torch.tensor(padded, device=device)
        self.layers: dict[int, KeysValues] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def held(self) -> int:
        """Tokens whose keys and values take up memory."""
        return len(self) * self.room

    def padding(self, longer: Cohort) -> int:
        """Bytes of keys and values a layer that its rows would read in vain as part of a longer cohort."""
        return len(self) * (longer.room - self.room) * self.token_bytes

    @property
    def token_bytes(self) -> int:
        """Of a token's key and value, a layer."""
        kept = next(iter(self.layers.values()))
        return sum(t.shape[1] * t.shape[3] * t.element_size() for t in kept)

    def begin_layer(self, layer: int, like: Float[Tensor, "time kv_heads width"]) -> KeysValues:
        """Room for a layer's keys and values, all zero."""
        _, kv_heads, width = like.shape
        shape = (len(self), kv_heads, self.room, width)
        self.layers[layer] = KeysValues(like.new_zeros(shape), like.new_zeros(shape))
        return self.layers[layer]

    def queries(self) -> Queries:
        """What the next pass computes; makes room for it, and for a token more."""
        if self._end(1) > self.room:
            self._make_room(self._end(_AHEAD))
        return Queries(self)

    def _end(self, passes: int) -> int:
        """Room for so many passes with as many guesses, and for a token more."""
        pairs = zip(self.lengths, self.guesses, strict=True)
        return rounded(max(length + passes * len(guesses) for length, guesses in pairs) + 2)

    def append(
        self, layer: int, places: Int[Tensor, " time*kv_heads"], key: Tensor, value: Tensor
    ) -> KeysValues:
        """A layer's keys and values with those of new tokens, (time, kv_heads, width), where these belong."""
        kept = self.layers[layer]
        for old, new in zip(kept, (key, value), strict=True):
            width = new.shape[2]
            old.view(-1, width).index_copy_(0, places, new.reshape(-1, width))
        return kept

    def join(self, other: Cohort) -> list[int]:
        """Takes over the rows of another cohort; the longest come first.

        Returns:
            which row stands at each place: one of its own, or of the other's, counted on from there.
        """
        room = max(self.room, other.room)
        for cohort in (self, other):
            cohort._make_room(room)
        lengths = [*self.lengths, *other.lengths]
        order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
        index = torch.tensor(order, device=self.tokens.device)
        self.tokens = torch.cat([self.tokens, other.tokens])[index]
        self.lengths = [lengths[row] for row in order]
        newest, guesses = [*self.newest, *other.newest], [*self.guesses, *other.guesses]
        self.newest, self.guesses = [newest[row] for row in order], [guesses[row] for row in order]
        for layer, kept in self.layers.items():
            pairs = zip(kept, other.layers[layer], strict=True)
            self.layers[layer] = KeysValues(*(torch.cat(pair)[index] for pair in pairs))
        return order

    def begin(self, chosen: Sequence[int]) -> None:
        """Puts the first token of its answer behind each prompt."""
        self.newest = list(chosen)
        self._write([[token] for token in chosen])

    def go_on(self, written: Sequence[Sequence[int]]) -> None:
        """Puts what a pass led to behind each row: the guesses that were right, and a token more."""
        self.lengths = [length + len(ids) for length, ids in zip(self.lengths, written, strict=True)]
        self.newest = [ids[-1] for ids in written]
        self.guesses = [()] * len(self)
        self._write(written)

    def _write(self, written: Sequence[Sequence[int]]) -> None:
        """Tokens of each row, the last of them its newest."""
        rows = [row for row, ids in enumerate(written) for _ in ids]
        ends = zip(self.lengths, written, strict=True)
        places = [end - len(ids) + i for end, ids in ends for i in range(1, len(ids) + 1)]
        values = [token for ids in written for token in ids]
        index = torch.tensor([rows, places, values], device=self.tokens.device)
        self.tokens[index[0], index[1]] = index[2]

    def _make_room(self, room: int) -> None:
        more, self.room = room - self.room, room
        if not more:
            return
        self.tokens = torch.cat([self.tokens, self.tokens[:, :1].expand(-1, more)], dim=1)
        for layer, kept in self.layers.items():
            zeros = kept.keys.new_zeros(*kept.keys.shape[:2], more, kept.keys.shape[3])
            self.layers[layer] = KeysValues(*(torch.cat([t, zeros], dim=2) for t in kept))

    def drop(self, row: int) -> None:
        """Takes a row out; the last one takes its place."""
        last = len(self) - 1
        if row != last:
            for kept in self.layers.values():
                kept.keys[row], kept.values[row] = kept.keys[last], kept.values[last]
            self.tokens[row] = self.tokens[last]
        for own in (self.lengths, self.newest):
            own[row] = own[last]
            own.pop()
        self.guesses.pop(row)
        self.layers = {layer: KeysValues(*(t[:last] for t in kept)) for layer, kept in self.layers.items()}
        self.tokens = self.tokens[:last]
