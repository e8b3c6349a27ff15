"""Attention of tokens to what was kept of their rows, registered with transformers' attention interface.

Two kinds of passes go through a model: prompts, packed into one row without padding, and the newest token of every
row that is being answered. Both are one row of tokens to the model; which of them belong together is the pass's
to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface

from lidr.attention_interface import has_varlen, varlen
from lidr.engines.cohort import Cohort, KeysValues, Prefix
from lidr.engines.queries import Queries

CACHED = "lidr_cached"
# Beyond these the kernels of a CPU divide a sum in fp32, by how many keys there are. Of few queries an EPYC never does,
# of one a Xeon with AMX.
_KEYS_AT_ONCE = 256
_DIVIDED = 192  # keys whose sum an EPYC divides too unless queries are few
_FEW_QUERIES = 3
_QUERIES_AT_ONCE = 256


Embeddings = tuple[Tensor, Tensor]  # cosines and sines, (1, time, width), as transformers makes them


class Pass(Protocol):
    """A forward pass's attention, layer by layer."""

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        embeddings: Embeddings | None = None,
    ) -> Tensor:
        """(time, heads, width), twice (time, kv_heads, width) -> (time, heads, width).

        Args:
            embeddings: of the positions that queries and keys are turned to first; None where they are already.
        """
        ...


def cached_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    lidr_pass: Pass | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function of the interface."""
    if lidr_pass is None:
        raise RuntimeError("a model that generates was called without a pass")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer: Any = module.layer_idx
    query, key, value = (t[0].transpose(0, 1) for t in (query, key, value))
    return lidr_pass.attend(int(layer), query, key, value, scale)[None], None


class Turns:
    """Rotary position embeddings (arXiv 2104.09864); what a pass's layers share is made once."""

    def __init__(self) -> None:
        self._cos: Tensor | None = None
        self._both: Embeddings | None = None

    def both(self, query: Tensor, key: Tensor, embeddings: Embeddings | None) -> tuple[Tensor, Tensor]:
        """Queries and keys at their positions; as they are where there are no embeddings."""
        if embeddings is None:
            return query, key
        return self.turned(query, embeddings), self.turned(key, embeddings)

    def turned(
        self, heads: Float[Tensor, "time heads width"], embeddings: Embeddings
    ) -> Float[Tensor, "time heads width"]:
        """Heads at their positions."""
        cos, sin = embeddings
        half = sin.shape[-1] // 2
        if self._both is None or cos is not self._cos:
            signed = torch.cat([-sin[..., :half], sin[..., half:]], -1)
            self._cos, self._both = cos, (cos[0][:, None], signed[0][:, None])
        cosines, sines = self._both
        return torch.addcmul(heads * cosines, heads.roll(half, -1), sines)


class Prompts:
    """The prompts of a new cohort, one after the other in a row, without what each begins with.

    Args:
        cohort: without keys and values yet.
        prefixes: what each of its rows begins with.
    """

    def __init__(self, cohort: Cohort, prefixes: Sequence[Prefix]) -> None:
        self.cohort, self.prefixes = cohort, prefixes
        self._seen, self._turns = lru_cache(_seen), Turns()

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        embeddings: Embeddings | None = None,
    ) -> Tensor:
        """See `Pass`."""
        query, key = self._turns.both(query, key, embeddings)
        if has_varlen(query):
            return self._at_once(layer, query, key, value, scale)
        kept = self.cohort.begin_layer(layer, key)
        out = query.new_zeros(query.shape)
        query, key, value = (t.transpose(0, 1) for t in (query, key, value))
        in_blocks = query.dtype == torch.bfloat16 and query.device.type == "cpu"
        start = 0
        for row, (length, prefix) in enumerate(zip(self.cohort.lengths, self.prefixes, strict=True)):
            before = len(prefix)
            own = slice(start, start + length - before)
            for kind, new in enumerate((key, value)):
                if before:
                    kept[kind][row, :, :before] = prefix.layers[layer][kind][0]
                kept[kind][row, :, before:length] = new[:, own]
            keys, values = (t[row, :, :length] for t in kept)
            if in_blocks:
                out[own] = _in_blocks(query[:, own], keys, values, scale)
            else:
                mask = self._seen(length - before, length, query.device) if before else None
                out[own] = _causal(query[:, own], keys, values, mask, scale)
            start = own.stop
        return out

    def _at_once(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """All rows by one kernel; what is left of the pass is padding."""
        places, kept = self._places, self.cohort.begin_layer(layer, key)
        for kind, new in enumerate((key, value)):
            for prefix, rows in places.prefixes:
                kept[kind][rows, :, : len(prefix)] = prefix.layers[layer][kind]
            kept[kind][places.rows, :, places.positions] = new[: len(places.rows)]
        keys, values = (t[places.key_rows, :, places.key_positions] for t in kept)
        ends = (places.query_ends, places.key_ends, places.longest_query, places.longest_key)
        out = query.new_zeros(query.shape)
        out[: len(places.rows)] = varlen(query[: len(places.rows)], keys, values, *ends, scale)
        return out

    @cached_property
    def _places(self) -> Places:
        return Places(self.cohort, self.prefixes)


class Places:
    """Where the tokens of prompts lie in their cohort, on its device.

    Attributes:
        rows, positions: of each new token.
        key_rows, key_positions: of each token, those that prompts begin with included.
        query_ends, key_ends: 0 and where the new and all tokens of each prompt end, int32.
        prefixes: what prompts begin with, and which do.
    """

    def __init__(self, cohort: Cohort, prefixes: Sequence[Prefix]) -> None:
        device = cohort.tokens.device
        spans = [(len(p), length) for p, length in zip(prefixes, cohort.lengths, strict=True)]
        self.rows, self.positions = _cells(spans, device)
        self.key_rows, self.key_positions = _cells([(0, end) for _, end in spans], device)
        lengths = [[end - begin for begin, end in spans], [end for _, end in spans]]
        self.longest_query, self.longest_key = map(max, lengths)
        self.query_ends, self.key_ends = (
            torch.tensor([0, *accumulate(own)], dtype=torch.int32, device=device) for own in lengths
        )
        shared: dict[Prefix, list[int]] = {}
        for row, prefix in enumerate(prefixes):
            if len(prefix):
                shared.setdefault(prefix, []).append(row)
        self.prefixes = [(prefix, torch.tensor(rows, device=device)) for prefix, rows in shared.items()]


def _cells(spans: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """Row and position of each token of every row's span."""
    cells = [(row, place) for row, span in enumerate(spans) for place in range(*span)]
    return torch.tensor(cells, device=device).T


class Newest:
    """The newest token of each row of some cohorts, by PyTorch's operators; what is left of the row is padding."""

    def __init__(self, queries: Sequence[Queries]) -> None:
        self.queries, self._turns = queries, Turns()

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        embeddings: Embeddings | None = None,
    ) -> Tensor:
        """See `Pass`."""
        query, key = self._turns.both(query, key, embeddings)
        query = query * scale
        out = query.new_zeros(query.shape)
        start = 0
        for queries in self.queries:
            own = slice(start, start + len(queries))
            kept = queries.cohort.append(layer, queries.places(key.shape[1]), key[own], value[own])
            out[own] = newest(query[own], kept, queries.mask(query.dtype))
            start = own.stop
        return out


def _causal(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention of the last tokens of a sequence to all of it.

    Args:
        query: (heads, new, width).
        keys, values: (kv_heads, length, width).
        mask: what they see; None where they are all of it.

    Returns:
        (new, heads, width).
    """
    keys, values = (t.repeat_interleave(len(query) // len(keys), dim=0)[None] for t in (keys, values))
    found = scaled_dot_product_attention(
        query[None], keys, values, attn_mask=mask, is_causal=mask is None, scale=scale
    )
    return found[0].transpose(0, 1)


def _seen(new: int, length: int, device: torch.device) -> Tensor:
    """Which tokens of a sequence its last `new` ones see."""
    return torch.ones(new, length, dtype=torch.bool, device=device).tril(length - new)


def _in_blocks(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """As `_causal`, some queries at a time: in two thirds of its time in bf16 on a CPU, in fp32 no faster."""
    kv_heads, length, width = keys.shape
    new = query.shape[1]
    query = (query * scale).view(kv_heads, -1, new, width)
    out = query.new_empty(new, kv_heads, query.shape[1], width)
    for start in range(0, new, _QUERIES_AT_ONCE):
        end = min(start + _QUERIES_AT_ONCE, new)
        seen, size = length - new + end, end - start
        scores = torch.bmm(query[:, :, start:end].flatten(1, 2), keys[:, :seen].transpose(1, 2))
        scores.view(kv_heads, -1, size, seen)[..., -size:].add_(_hidden(size, query.dtype))
        found = torch.bmm(torch.softmax(scores, -1), values[:, :seen])
        out[start:end] = found.view(kv_heads, -1, size, width).permute(2, 0, 1, 3)
    return out.flatten(1, 2)


@lru_cache(maxsize=_QUERIES_AT_ONCE)
def _hidden(size: int, dtype: torch.dtype) -> Tensor:
    """What is added to scores of tokens among themselves."""
    return torch.full((size, size), -torch.inf, dtype=dtype).triu_(1)


def newest(query: Tensor, kept: KeysValues, mask: Tensor) -> Tensor:
    """Attention of rows' newest tokens, (rows, heads, width). Heads that share keys read them once.

    Its sums in fp32 on a CPU do not depend on the room.
    """
    rows, kv_heads, room, width = kept.keys.shape
    own = query.reshape(rows * kv_heads, -1, width)
    scores = torch.bmm(own, kept.keys.flatten(0, 1).transpose(1, 2))
    scores.view(rows, -1, room).add_(mask)
    return _weighted(torch.softmax(scores, -1), kept.values.flatten(0, 1)).view(rows, -1, width)


def _weighted(weights: Tensor, values: Tensor) -> Tensor:
    """weights @ values, as many keys at a time as one sum is made of, however many there are."""
    room, step = weights.shape[2], _KEYS_AT_ONCE
    if weights.shape[1] > _FEW_QUERIES and room % step == _DIVIDED:
        weights, values = pad(weights, (0, step - _DIVIDED)), pad(values, (0, 0, 0, step - _DIVIDED))
    parts = [slice(start, start + step) for start in range(0, room, step)]
    total = torch.bmm(weights[:, :, parts[0]], values[:, parts[0]])
    for part in parts[1:]:
        total += torch.bmm(weights[:, :, part], values[:, part])
    return total


AttentionInterface.register(CACHED, cached_attention)
