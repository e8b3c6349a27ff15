"""Attention of one token of every slot to what was kept of it, by one Triton kernel on CUDA.

The kernel turns query and key by rotary embeddings, keeps key and value behind the slot's others, and reads the slot
as far as it goes: other slots and the room behind change neither its time nor its sums. Scores and sums are in fp32.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lidr import kernels
from lidr.engines.cached_attention import Embeddings, Turns, newest
from lidr.engines.cohort import KeysValues
from lidr.kernels import constexpr, jit, tl, triton

_KEYS = 64  # that a program reads at a time
_LEAST = 16  # rows and columns of the smallest matrix product


class SlotPass:
    """One token of each of the first slots.

    Args:
        layers: keys and values of all slots, by layer.
        lengths: tokens of each of the first slots that are kept.
    """

    def __init__(self, layers: dict[int, KeysValues], lengths: Int[Tensor, " slots"]) -> None:
        self.layers, self.lengths, self._turns = layers, lengths, Turns()

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "slots heads width"],
        key: Float[Tensor, "slots kv_heads width"],
        value: Float[Tensor, "slots kv_heads width"],
        scale: float,
        embeddings: Embeddings | None = None,
    ) -> Float[Tensor, "slots heads width"]:
        """See `lidr.engines.cached_attention.Pass`."""
        kept = self.layers[layer]
        if kernels.serves(query):
            return attended(query, key, value, kept, self.lengths, scale, embeddings)
        query, key = self._turns.both(query, key, embeddings)
        return self._by_operators(query * scale, key, value, kept)

    def _by_operators(self, query: Tensor, key: Tensor, value: Tensor, kept: KeysValues) -> Tensor:
        rows = torch.arange(len(query), device=query.device)
        for own, new in zip(kept, (key, value), strict=True):
            own[rows, :, self.lengths] = new
        part = KeysValues(*(t[: len(query)] for t in kept))
        hidden = torch.arange(kept.keys.shape[2], device=query.device) > self.lengths[:, None]
        mask = torch.zeros_like(hidden, dtype=query.dtype).masked_fill_(hidden, -torch.inf)
        return newest(query, part, mask[:, None])


def attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kept: KeysValues,
    lengths: Tensor,
    scale: float,
    embeddings: Embeddings | None,
) -> Tensor:
    """What `SlotPass.attend` gives, by the kernel; a program for each slot and head of keys."""
    slots, heads, width = query.shape
    kv_heads = key.shape[1]
    query, key, value = (t if t.stride(2) == 1 else t.contiguous() for t in (query, key, value))
    out = torch.empty(slots, heads, width, dtype=query.dtype, device=query.device)
    cos, sin = (query, query) if embeddings is None else (t[0].contiguous() for t in embeddings)
    group = heads // kv_heads
    with kernels.on_device_of(query):
        _attend[(slots, kv_heads)](
            query,
            key,
            value,
            *kept,
            out,
            lengths,
            cos,
            sin,
            scale,
            *query.stride()[:2],
            *key.stride()[:2],
            *value.stride()[:2],
            *kept.keys.stride()[:3],
            width,
            group,
            max(_LEAST, triton.next_power_of_2(group)),
            max(_LEAST, triton.next_power_of_2(width)),
            _KEYS,
            embeddings is not None,
            query.dtype == torch.float32,
            num_warps=4,
        )
    return out


@jit
def _attend(  # type: ignore[no-untyped-def]
    query,
    key,
    value,
    keys,
    values,
    out,
    lengths,
    cos,
    sin,
    scale,
    query_slot,
    query_head,
    key_slot,
    key_head,
    value_slot,
    value_head,
    kept_slot,
    kept_head,
    kept_token,
    width,
    group,
    group_block: constexpr,
    width_block: constexpr,
    keys_block: constexpr,
    turns: constexpr,
    exact: constexpr,
):
    slot, head = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    length = tl.load(lengths + slot)
    column, row = tl.arange(0, width_block), tl.arange(0, group_block)
    inside = column < width
    own = (row < group)[:, None] & inside[None, :]
    half = width // 2
    across = tl.where(column < half, column + half, column - half)
    queries = query + slot * query_slot + (head * group + row)[:, None] * query_head
    new_key = key + slot * key_slot + head * key_head
    q = tl.load(queries + column[None, :], mask=own, other=0.0).to(tl.float32)
    k = tl.load(new_key + column, mask=inside, other=0.0).to(tl.float32)
    if turns:
        c = tl.load(cos + slot * width + column, mask=inside, other=0.0).to(tl.float32)
        s = tl.load(sin + slot * width + column, mask=inside, other=0.0).to(tl.float32)
        s = tl.where(column < half, -s, s)
        q = (
            q * c[None, :]
            + tl.load(queries + across[None, :], mask=own, other=0.0).to(tl.float32) * s[None, :]
        )
        k = k * c + tl.load(new_key + across, mask=inside, other=0.0).to(tl.float32) * s
    dtype = keys.dtype.element_ty
    k = k.to(dtype)
    v = tl.load(value + slot * value_slot + head * value_head + column, mask=inside, other=0.0)
    kept = slot * kept_slot + head * kept_head
    at = kept + length * kept_token + column
    tl.store(keys + at, k, mask=inside)
    tl.store(values + at, v, mask=inside)

    q = (q * scale).to(dtype)
    top = tl.sum(q.to(tl.float32) * k.to(tl.float32)[None, :], 1)
    total = tl.full([group_block], 1.0, dtype=tl.float32)
    sums = tl.zeros([group_block, width_block], dtype=tl.float32) + v.to(tl.float32)[None, :]
    for start in range(0, length, keys_block):
        token = start + tl.arange(0, keys_block)
        before = token < length
        there = kept + token[:, None] * kept_token + column[None, :]
        wanted = before[:, None] & inside[None, :]
        block = tl.load(keys + there, mask=wanted, other=0.0)
        scores = tl.dot(q, tl.trans(block), input_precision="ieee" if exact else "tf32")
        scores = tl.where(before[None, :], scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 1))
        weights = tl.exp(scores - higher[:, None])
        fade = tl.exp(top - higher)
        total = total * fade + tl.sum(weights, 1)
        block = tl.load(values + there, mask=wanted, other=0.0)
        found = tl.dot(weights.to(dtype), block, input_precision="ieee" if exact else "tf32")
        sums = sums * fade[:, None] + found
        top = higher
    result = sums / total[:, None]
    place = out + (slot * tl.num_programs(1) + head) * group * width + row[:, None] * width + column[None, :]
    tl.store(place, result.to(out.dtype.element_ty), mask=own)
