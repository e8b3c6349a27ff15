"""Answers that were begun together: their tokens, and the keys and values that attention has seen of them.

Rows of like length lie in one cohort, so that attention over it, rectangular, computes little in vain, and no row
is ever moved because another one ended. A cohort's room is a multiple of `BLOCK`: a key's place in the
reductions of the kernels is then the same whatever else is in the cohort, and an answer does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BLOCK = 64  # tokens


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
        prompts: token ids of each row's prompt, a shared prefix included.
        lengths: tokens of each row whose keys and values are there.
        tokens: prompt and answer of each row; past its end the row's first token stands.
        layers: by layer index, filled by the first forward pass.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], device: torch.device) -> None:
        longest = max(map(len, prompts))
        self.room = _rounded(longest + 1)
        self.lengths = torch.tensor([len(p) for p in prompts], device=device)
        padded = [[*p, *([p[0]] * (self.room - len(p)))] for p in prompts]
        self.tokens: Int[Tensor, "rows room"] = torch.tensor(padded, device=device)
        self.layers: dict[int, KeysValues] = {}
        self._longest = longest
        self._mask: dict[torch.dtype, Tensor] = {}
        self._places: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def held(self) -> int:
        """Tokens whose keys and values take up memory."""
        return len(self) * self.room

    def padding(self, longer: Cohort) -> int:
        """Bytes of keys and values a layer that its rows would read in vain as part of a longer cohort."""
        kept = next(iter(self.layers.values()))
        token = sum(t.shape[1] * t.shape[3] * t.element_size() for t in kept)
        return len(self) * (longer.room - self.room) * token

    def begin_layer(self, layer: int, like: Float[Tensor, "1 kv_heads time width"]) -> KeysValues:
        """Room for a layer's keys and values, all zero."""
        _, kv_heads, _, width = like.shape
        shape = (len(self), kv_heads, self.room, width)
        self.layers[layer] = KeysValues(like.new_zeros(shape), like.new_zeros(shape))
        return self.layers[layer]

    def append(self, layer: int, key: Tensor, value: Tensor) -> KeysValues:
        """A layer's keys and values with those of each row's newest token, (rows, kv_heads, width), behind them."""
        kept = self.layers[layer]
        for old, new in zip(kept, (key, value), strict=True):
            width = new.shape[2]
            old.view(-1, width).index_copy_(0, self._newest_places(new.shape[1]), new.reshape(-1, width))
        return kept

    def join(self, other: Cohort) -> None:
        """Takes over the rows of another cohort, behind its own."""
        room = max(self.room, other.room)
        for cohort in (self, other):
            cohort._make_room(room)
        self.tokens = torch.cat([self.tokens, other.tokens])
        self.lengths = torch.cat([self.lengths, other.lengths])
        for layer, kept in self.layers.items():
            self.layers[layer] = KeysValues(
                *(torch.cat(pair) for pair in zip(kept, other.layers[layer], strict=True))
            )
        self._longest = max(self._longest, other._longest)
        self._changed()

    def add(self, chosen: Int[Tensor, " rows"]) -> None:
        """Puts a token behind each row; its keys and values follow with the next pass."""
        self.tokens.scatter_(1, self.lengths[:, None], chosen[:, None])

    def newest(self) -> Int[Tensor, " rows"]:
        """The token of each row that has no keys and values yet."""
        return self.tokens.gather(1, self.lengths[:, None])[:, 0]

    def mask(self, dtype: torch.dtype) -> Float[Tensor, "rows 1 1 room"]:
        """What is added to scores, so that a row's newest token sees itself and what comes before it."""
        found = self._mask.get(dtype)
        if found is None:
            hidden: Bool[Tensor, "rows room"] = (
                torch.arange(self.room, device=self.lengths.device) > self.lengths[:, None]
            )
            found = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
            found = self._mask[dtype] = found.masked_fill_(hidden, -torch.inf)[:, None, None]
        return found

    def _newest_places(self, kv_heads: int) -> Int[Tensor, " rows*kv_heads"]:
        """Where the newest token's keys lie among all keys of a layer."""
        found = self._places.get(kv_heads)
        if found is None:
            device = self.lengths.device
            rows = torch.arange(len(self), device=device)[:, None] * kv_heads
            heads = rows + torch.arange(kv_heads, device=device)
            found = self._places[kv_heads] = (heads * self.room + self.lengths[:, None]).flatten()
        return found

    def _changed(self) -> None:
        """Rows, lengths or room are others now."""
        self._mask.clear()
        self._places.clear()

    def seen(self) -> None:
        """The newest tokens have keys and values now; makes room for one more."""
        self._changed()
        self.lengths = self.lengths + 1
        self._longest += 1
        if self._longest == self.room:
            self._make_room(self.room + BLOCK)

    def _make_room(self, room: int) -> None:
        more, self.room = room - self.room, room
        if not more:
            return
        self._changed()
        self.tokens = torch.cat([self.tokens, self.tokens[:, :1].expand(-1, more)], dim=1)
        for layer, kept in self.layers.items():
            zeros = kept.keys.new_zeros(*kept.keys.shape[:2], more, kept.keys.shape[3])
            self.layers[layer] = KeysValues(*(torch.cat([t, zeros], dim=2) for t in kept))

    def drop(self, row: int) -> None:
        """Takes a row out; the last one takes its place."""
        last = len(self) - 1
        self._changed()
        if row != last:
            for kept in self.layers.values():
                kept.keys[row], kept.values[row] = kept.keys[last], kept.values[last]
            self.tokens[row] = self.tokens[last]
            self.lengths[row] = self.lengths[last]
        self.layers = {layer: KeysValues(*(t[:last] for t in kept)) for layer, kept in self.layers.items()}
        self.tokens, self.lengths = self.tokens[:last], self.lengths[:last]


def _rounded(tokens: int) -> int:
    return -(-tokens // BLOCK) * BLOCK
