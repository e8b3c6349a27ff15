"""Attention over the segments of a packed row on the CPU: no mask over the row, and no copy of it that stays.

A block of queries at a time against the keys it may see, as two batched matrix products with a softmax between
them. Scores, softmax and sums are fp32; in bf16 the products with values and gradients are bf16, as in PyTorch's
flash kernel.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

from lidr.training.segments import Block, Segments


def segment_attention(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """Causal attention of each segment to itself and its prefix.

    Args:
        query: (1, heads, time, width).
        key, value: (1, kv_heads, time, width); kv_heads divides heads.
        segments: together they cover every query once.
        scale: factor of the scores before the softmax.

    Returns:
        (1, time, heads, width).
    """
    with torch.autocast("cpu", enabled=False):
        out: Tensor = _SegmentAttention.apply(query, key, value, segments, scale)  # type: ignore[no-untyped-call]
    return out


class _SegmentAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float
    ) -> Tensor:
        _, heads, time, width = query.shape
        out = query.new_empty(1, time, heads, width)
        rows = out[0].transpose(0, 1)
        part = _Row(query, key, value, scale)
        for block in segments.blocks:
            weights = part.weights(block)
            product = _buffer("out", (heads, len(block), width), query.dtype)
            rows[:, block.start : block.end] = torch.bmm(
                part.low(weights, "weights"), block.keys(part.value), out=product
            )
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(query, key, value)
            ctx.segments, ctx.scale = segments, scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        _, heads, time, width = query.shape
        part, grad = _Row(query, key, value, ctx.scale), grads[0][0].transpose(0, 1)
        values = part.value.float()
        d_query = query.new_empty(heads, time, width)
        d_key, d_value = (torch.zeros(heads, time, width) for _ in range(2))
        for block in ctx.segments.blocks:
            weights = part.weights(block)
            own = _buffer("grad", (heads, len(block), width)).copy_(grad[:, block.start : block.end])
            own_low, low = part.low(own, "grad"), part.low(weights, "weights")
            product = _buffer("keys", (heads, weights.shape[2], width), query.dtype)
            block.add(d_value, torch.bmm(low.transpose(1, 2), own_low, out=product))
            slope = torch.bmm(own, block.keys(values).transpose(1, 2), out=_buffer("scores", weights.shape))
            low = part.low(_softmax_backward(slope, weights), "weights")
            rows = _buffer("out", own.shape, query.dtype)
            d_query[:, block.start : block.end] = torch.bmm(low, block.keys(part.key), out=rows)
            queries = part.low(part.scaled(block), "queries")
            block.add(d_key, torch.bmm(low.transpose(1, 2), queries, out=product))
        shape = (key.shape[1], -1, time, width)
        d_key, d_value = (t.view(shape).sum(1)[None].to(key.dtype) for t in (d_key, d_value))
        return d_query.mul_(ctx.scale)[None], d_key, d_value, None, None


def _softmax_backward(grad: Tensor, weights: Tensor) -> Tensor:
    """The gradient of the scores, in a pass over each row."""
    out = _buffer("slope", grad.shape)
    torch.ops.aten._softmax_backward_data.out(grad, weights, -1, torch.float32, grad_input=out)
    return out


class _Row:
    """A packed row's queries, keys and values, the latter once for each head that reads them."""

    def __init__(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> None:
        groups = query.shape[1] // key.shape[1]
        self.query, self.scale = query[0], scale
        self.key, self.value = (t[0].repeat_interleave(groups, dim=0) for t in (key, value))
        self._exact_key = self.key.float()

    def scaled(self, block: Block) -> Tensor:
        """The block's queries times the scale, fp32."""
        queries = self.query[:, block.start : block.end]
        return _buffer("queries", queries.shape).copy_(queries).mul_(self.scale)

    def weights(self, block: Block) -> Tensor:
        """The softmax of the block's scores, (heads, queries, keys), fp32."""
        keys = block.keys(self._exact_key)
        shape = (len(keys), len(block), keys.shape[1])
        scores = torch.bmm(self.scaled(block), keys.transpose(1, 2), out=_buffer("scores", shape))
        scores[:, :, -block.mask.shape[1] :] += block.mask
        return torch.softmax(scores, -1, out=_buffer("softmax", shape))

    def low(self, tensor: Tensor, name: str) -> Tensor:
        """In the precision of the products with values and gradients."""
        if self.query.dtype == torch.float32:
            return tensor
        return _buffer(name, tensor.shape, self.query.dtype).copy_(tensor)


_local = threading.local()


def _buffer(name: str, shape: tuple[int, ...] | torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
    """Memory that is used again and again: fresh memory would cost a page fault for every few KiB."""
    buffers: dict[tuple[str, torch.dtype], Tensor] = _local.__dict__.setdefault("buffers", {})
    size = torch.Size(shape).numel()
    found = buffers.get((name, dtype))
    if found is None or found.numel() < size:
        found = buffers[name, dtype] = torch.empty(size, dtype=dtype)
    return found[:size].view(shape)
