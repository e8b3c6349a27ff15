"""Attention over the segments of a packed row on the CPU: no mask over the row, no copy per segment that stays.

PyTorch's own flash kernel runs on one segment after the other. A segment with a prefix is computed as the causal
attention over [prefix | segment], of which the prefix's rows are thrown away, or, where the prefix is the longer
part, with a mask over the segment's rows alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lidr.training.segments import Segment

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


@torch.library.custom_op("lidr::segment_attention", mutates_args=())
def segment_attention(
    query: Tensor, key: Tensor, value: Tensor, table: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Causal attention of each segment.

    Args:
        query: (1, heads, time, width).
        key, value: (1, kv_heads, time, width); kv_heads divides heads.
        table: (segments, 4), the columns of `Segment`; together they cover every query once.
        scale: factor of the scores before the softmax.

    Returns:
        the output, (1, time, heads, width), and the log-sum-exp of each query the kernel saw, (heads, queries),
        which the backward reads.
    """
    _, heads, time, width = query.shape
    out = query.new_empty(1, time, heads, width)
    rows = out.transpose(1, 2)
    sums = []
    for segment in _segments(table):
        part = _Part(segment)
        q, k, v = part.queries(query), part.keys(key, heads), part.keys(value, heads)
        o, lse = _flash(q, k, v, 0.0, part.causal, attn_mask=part.mask(query), scale=scale)
        rows[:, :, segment.start : segment.end] = o[:, :, part.dropped :]
        sums.append(lse[0])
    return out, torch.cat(sums, dim=-1)


@segment_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, table: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    _, heads, time, width = query.shape
    queries = torch.library.get_ctx().new_dynamic_size()
    return query.new_empty(1, time, heads, width), query.new_empty(heads, queries, dtype=torch.float32)


@torch.library.custom_op("lidr::segment_attention_backward", mutates_args=())
def segment_attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    sums: Tensor,
    table: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value; `grad` and `out` are (1, time, heads, width)."""
    heads = query.shape[1]
    grads = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    row_grads, rows = grad.transpose(1, 2), out.transpose(1, 2)
    seen = 0
    for segment in _segments(table):
        part = _Part(segment)
        q, k, v = part.queries(query), part.keys(key, heads), part.keys(value, heads)
        seen, lse = seen + q.shape[2], sums[None, :, seen : seen + q.shape[2]]
        by_part = _flash_backward(
            part.padded(row_grads), q, k, v, part.padded(rows), lse, 0.0, part.causal,
            attn_mask=part.mask(query), scale=scale,
        )  # fmt: skip
        grads[0][:, :, segment.start : segment.end] += by_part[0][:, :, part.dropped :]
        for total, share in zip(grads[1:], by_part[1:], strict=True):
            part.add(total, share)
    return grads


@segment_attention_backward.register_fake
def _(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    sums: Tensor,
    table: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _setup_context(ctx: object, inputs: tuple[object, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.scale = inputs  # type: ignore[attr-defined]
    ctx.save_for_backward(*tensors, *output)  # type: ignore[attr-defined]


def _backward(ctx: object, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value, table, out, sums = ctx.saved_tensors  # type: ignore[attr-defined]
    scale: float = ctx.scale  # type: ignore[attr-defined]
    return *segment_attention_backward(grad, query, key, value, out, sums, table, scale), None, None


segment_attention.register_autograd(_backward, setup_context=_setup_context)


def _segments(table: Tensor) -> list[Segment]:
    return [Segment(*row) for row in table.tolist()]


class _Part(NamedTuple):
    """How one segment goes through the kernel."""

    segment: Segment

    @property
    def prefix(self) -> int:
        return self.segment.prefix_end - self.segment.prefix

    @property
    def causal(self) -> bool:
        """Whether the prefix's queries are computed too, and the kernel's causal mask does."""
        return self.prefix <= self.segment.end - self.segment.start

    @property
    def dropped(self) -> int:
        """Leading queries that are not the segment's own."""
        return self.prefix if self.causal else 0

    def queries(self, rows: Tensor) -> Tensor:
        return self._with_prefix(rows) if self.causal else rows[:, :, self.segment.start : self.segment.end]

    def keys(self, rows: Tensor, heads: int) -> Tensor:
        groups = heads // rows.shape[1]
        keys = self._with_prefix(rows)
        return keys if groups == 1 else keys.repeat_interleave(groups, dim=1)

    def _with_prefix(self, rows: Tensor) -> Tensor:
        own = rows[:, :, self.segment.start : self.segment.end]
        if not self.prefix:
            return own
        return torch.cat([rows[:, :, self.segment.prefix : self.segment.prefix_end], own], dim=2)

    def padded(self, rows: Tensor) -> Tensor:
        """The segment's rows after zeros for the queries that were thrown away."""
        own = rows[:, :, self.segment.start : self.segment.end]
        return torch.nn.functional.pad(own, (0, 0, self.dropped, 0)) if self.dropped else own

    def mask(self, like: Tensor) -> Tensor | None:
        """What is added to the scores, (queries, keys); None for the kernel's causal mask."""
        if self.causal:
            return None
        length = self.segment.end - self.segment.start
        return like.new_full((length, self.segment.keys), -torch.inf).triu_(self.prefix + 1)

    def add(self, total: Tensor, share: Tensor) -> None:
        """Adds gradients of the segment's keys, summed over the heads that read the same key."""
        _, kv_heads, _, width = total.shape
        share = share.reshape(1, kv_heads, -1, share.shape[2], width).sum(2)
        total[:, :, self.segment.start : self.segment.end] += share[:, :, self.prefix :]
        if self.prefix:
            total[:, :, self.segment.prefix : self.segment.prefix_end] += share[:, :, : self.prefix]
