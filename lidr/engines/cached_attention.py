"""Attention of tokens to what was kept of their rows, registered with transformers' attention interface.

Two kinds of passes go through a model: prompts, packed into one row without padding, and the newest token of every
row that is being answered. Both are one row of tokens to the model; which of them belong together is the pass's
to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from lidr.engines.cohort import Cohort, KeysValues, Prefix

CACHED = "lidr_cached"
_KEYS_AT_ONCE = 256
_FEW_QUERIES = 3


class Pass(Protocol):
    """A forward pass's attention, layer by layer."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """(1, heads, time, width), twice (1, kv_heads, time, width) -> (1, time, heads, width)."""
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
    return lidr_pass.attend(int(layer), query, key, value, scale), None


class Prompts:
    """The prompts of a new cohort, one after the other in a row, without what each begins with.

    Args:
        cohort: without keys and values yet.
        prefixes: what each of its rows begins with.
    """

    def __init__(self, cohort: Cohort, prefixes: Sequence[Prefix]) -> None:
        self.cohort, self.prefixes = cohort, prefixes
        self.lengths: list[int] = cohort.lengths.tolist()
        device, pairs = cohort.lengths.device, zip(self.lengths, prefixes, strict=True)
        self._masks = [_causal_mask(length - len(prefix), length, device) for length, prefix in pairs]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `Pass`."""
        kept = self.cohort.begin_layer(layer, key)
        out = query.new_zeros(1, query.shape[2], query.shape[1], query.shape[3])
        start = 0
        for row, (length, prefix) in enumerate(zip(self.lengths, self.prefixes, strict=True)):
            before = len(prefix)
            own = slice(start, start + length - before)
            for kind, new in enumerate((key, value)):
                if before:
                    kept[kind][row, :, :before] = prefix.layers[layer][kind][0]
                kept[kind][row, :, before:length] = new[0, :, own]
            keys, values = (t[row : row + 1, :, :length] for t in kept)
            out[:, own] = _causal(query[:, :, own], keys, values, self._masks[row], scale).transpose(1, 2)
            start = own.stop
        return out


class Newest:
    """The newest token of each row of some cohorts, cohort after cohort; what is left of the row is padding."""

    def __init__(self, cohorts: Sequence[Cohort]) -> None:
        self.cohorts = cohorts

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """See `Pass`."""
        rows, new_keys, new_values = (t[0].transpose(0, 1) for t in (query * scale, key, value))
        out = query.new_zeros(1, *rows.shape)
        start = 0
        for cohort in self.cohorts:
            own = slice(start, start + len(cohort))
            kept = cohort.append(layer, new_keys[own], new_values[own])
            out[0, own] = _one_query(rows[own], kept, cohort.mask(query.dtype))
            start = own.stop
        return out


def _causal_mask(new: int, length: int, device: torch.device) -> Tensor | None:
    """Which tokens of a sequence its last `new` ones see; None where these are all of it."""
    if new == length:
        return None
    return torch.ones(new, length, dtype=torch.bool, device=device).tril(length - new)


def _causal(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention of the last tokens of one sequence to all of it."""
    groups = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
    return scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scale
    )


def _one_query(query: Tensor, kept: KeysValues, mask: Tensor) -> Tensor:
    """Attention of one token of each row, (rows, heads, width); heads that share keys read them once."""
    rows, kv_heads, room, width = kept.keys.shape
    keys, values = (t.view(rows * kv_heads, room, width) for t in kept)
    grouped = query.reshape(rows * kv_heads, -1, width)
    scores = torch.bmm(grouped, keys.transpose(1, 2))
    scores.view(rows, kv_heads, -1, room).add_(mask)
    return _weighted(torch.softmax(scores, -1), values).view(rows, -1, width)


def _weighted(weights: Tensor, values: Tensor) -> Tensor:
    """weights @ values, a fixed number of keys at a time.

    From 4 queries on, the product of all of them at once would split its sum by their number.
    """
    if weights.shape[1] <= _FEW_QUERIES or weights.shape[2] <= _KEYS_AT_ONCE:
        return torch.bmm(weights, values)
    starts = range(0, weights.shape[2], _KEYS_AT_ONCE)
    parts = [slice(start, start + _KEYS_AT_ONCE) for start in starts]
    total = torch.bmm(weights[:, :, parts[0]], values[:, parts[0]])
    for part in parts[1:]:
        total += torch.bmm(weights[:, :, part], values[:, part])
    return total


AttentionInterface.register(CACHED, cached_attention)
