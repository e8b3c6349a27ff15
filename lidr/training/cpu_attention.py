"""Attention over the segments of a packed row on the CPU: no mask over the row, and no copy of it that stays.

A block of queries at a time against the keys it may see, as two batched matrix products with a softmax between
them. The queries of all heads that read the same keys are rows of the same product, so that keys are never
repeated and their gradients are summed by the product itself.

In bf16 scores and weights are rounded to bf16, as in transformers' eager attention under autocast; the softmax is
computed, and gradients of keys and values are summed over blocks, in fp32. Against fp32 scores this moves the
gradient no further from fp32's than transformers' own attention does (docs/training.md), in less time.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

from lidr.training.segments import Block, Segments


def segment_attention(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float, keep_weights: bool = False
) -> Tensor:
    """Causal attention of each segment to itself and its prefix.

    Args:
        query: (1, heads, time, width).
        key, value: (1, kv_heads, time, width); kv_heads divides heads.
        segments: together they cover every query once.
        scale: factor of the scores before the softmax.
        keep_weights: keep the softmax for the backward, a number per query head and key, rather than compute it
            again.

    Returns:
        (1, time, heads, width).
    """
    with torch.autocast("cpu", enabled=False):
        out: Tensor = _SegmentAttention.apply(  # type: ignore[no-untyped-call]
            query, key, value, segments, scale, keep_weights
        )
    return out


class _SegmentAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float, keep: bool
    ) -> Tensor:
        row, kept, trains = _Row(query, key, scale), [], any(ctx.needs_input_grad)
        values, out = row.copied(value, "values"), _buffer("out", row.queries.shape, query.dtype)
        for part in segments.parts(query.dtype):
            own_keys, own_values = part.keys(row.keys, 2), part.keys(values, 1)
            for block in part.blocks:
                weights = row.weights(own_keys, block, fresh=keep and trains)
                if keep and trains:
                    kept.append(weights)
                torch.bmm(weights, own_values[:, : block.keys], out=out[:, row.of(block)])
        if trains:
            ctx.save_for_backward(query, key, value, *kept)
            ctx.segments, ctx.scale = segments, scale
        return row.ungrouped(out)[None]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        every = iter(kept)
        row = _Row(query, key, ctx.scale)
        grad = row.grouped(grads[0][0], "grad")
        key_rows, values = row.copied(key, "key rows"), row.copied(value, "values", transposed=True)
        d_query = _buffer("out", row.queries.shape, query.dtype)
        d_key, d_value = (torch.zeros(row.keys.shape) for _ in range(2))
        for part in ctx.segments.parts(query.dtype):
            keys, own_rows, own_values = part.keys(row.keys, 2), part.keys(key_rows, 1), part.keys(values, 2)
            own_key, own_value = (_buffer(name, keys.shape).zero_() for name in ("d_keys", "d_values"))
            for block in part.blocks:
                rows = row.of(block)
                queries, own = row.queries[:, rows], grad[:, rows]
                weights = next(every) if kept else row.weights(keys, block)
                product = _buffer("product", (len(keys), row.width, block.keys), query.dtype)
                own_value[:, :, : block.keys].add_(torch.bmm(own.transpose(1, 2), weights, out=product))
                slope = _buffer("scores", weights.shape, query.dtype)
                torch.bmm(own, own_values[:, :, : block.keys], out=slope)
                slope = _softmax_backward(slope, weights)
                torch.bmm(slope, own_rows[:, : block.keys], out=d_query[:, rows])
                own_key[:, :, : block.keys].add_(torch.bmm(queries.transpose(1, 2), slope, out=product))
            part.add(d_key, own_key)
            part.add(d_value, own_value)
        d_query = row.ungrouped(d_query, ctx.scale).transpose(0, 1)
        d_key, d_value = (t.transpose(1, 2).to(key.dtype) for t in (d_key, d_value))
        return d_query[None], d_key[None], d_value[None], None, None, None


class _Row:
    """A packed row's queries and keys.

    Attributes:
        queries: (kv_heads, time x groups, width): all queries that read the same keys, token by token, times the scale.
        keys: (kv_heads, width, time).
    """

    def __init__(self, query: Tensor, key: Tensor, scale: float) -> None:
        _, heads, self.time, self.width = query.shape
        self.kv_heads, self.groups = key.shape[1], heads // key.shape[1]
        self.queries = self.grouped(query[0].transpose(0, 1), "queries", scale)
        self.keys = self.copied(key, "keys", transposed=True)

    def of(self, block: Block) -> slice:
        """The rows of a block's queries."""
        return slice(block.start * self.groups, block.end * self.groups)

    def grouped(self, tensor: Tensor, name: str, scale: float = 1.0) -> Tensor:
        """(time, heads, width) to (kv_heads, time x groups, width), times the scale."""
        out = _buffer(name, (self.kv_heads, self.time, self.groups, self.width), tensor.dtype)
        by_head = tensor.reshape(self.time, self.kv_heads, self.groups, -1).transpose(0, 1)
        return torch.mul(by_head, scale, out=out).flatten(1, 2)

    def ungrouped(self, rows: Tensor, scale: float = 1.0) -> Tensor:
        """(kv_heads, time x groups, width) to new memory, (time, heads, width), times the scale."""
        out = rows.new_empty(self.time, self.kv_heads, self.groups, self.width)
        by_token = rows.view(self.kv_heads, self.time, self.groups, -1).transpose(0, 1)
        return torch.mul(by_token, scale, out=out).flatten(1, 2)

    @staticmethod
    def copied(tensor: Tensor, name: str, *, transposed: bool = False) -> Tensor:
        """(1, kv_heads, time, width) to (kv_heads, time, width) or (kv_heads, width, time)."""
        rows = tensor[0].transpose(1, 2) if transposed else tensor[0]
        return _buffer(name, rows.shape, rows.dtype).copy_(rows)

    def weights(self, keys: Tensor, block: Block, *, fresh: bool = False) -> Tensor:
        """The softmax of the block's scores, (kv_heads, rows, keys); in fresh memory, or some that is used again."""
        queries, keys = self.queries[:, self.of(block)], keys[:, :, : block.keys]
        shape, dtype = (len(keys), queries.shape[1], keys.shape[2]), queries.dtype
        scores = torch.bmm(queries, keys, out=_buffer("scores", shape, dtype))
        last = scores.view(len(keys), len(block), self.groups, -1)[..., -block.mask.shape[1] :]
        last.add_(block.mask[:, None])
        out = torch.empty(shape, dtype=dtype) if fresh else _buffer("softmax", shape, dtype)
        return torch.softmax(scores, -1, out=out)


def _softmax_backward(grad: Tensor, weights: Tensor) -> Tensor:
    """The gradient of the scores, in a pass over each row."""
    out = _buffer("slope", grad.shape, grad.dtype)
    torch.ops.aten._softmax_backward_data.out(grad, weights, -1, grad.dtype, grad_input=out)
    return out


_local = threading.local()


def _buffer(name: str, shape: tuple[int, ...] | torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
    """Memory that is used again and again: fresh memory would cost a page fault for every few KiB."""
    buffers: dict[tuple[str, torch.dtype], Tensor] = _local.__dict__.setdefault("buffers", {})
    size = torch.Size(shape).numel()
    found = buffers.get((name, dtype))
    if found is None or found.numel() < size:
        found = buffers[name, dtype] = torch.empty(size, dtype=dtype)
    return found[:size].view(shape)
