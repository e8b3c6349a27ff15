"""Attention over packed rows, registered with transformers' attention interface.

A model whose attention goes through that interface runs packed rows unchanged: its layers pass the segments
along as a keyword. On the CPU blocks of queries meet the keys they may see (`cpu_attention`); on CUDA one
variable-length flash kernel takes all segments, in 16 bit; anything else falls back to PyTorch's attention segment
by segment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from lidr.attention_interface import has_varlen, varlen
from lidr.training.cpu_attention import segment_attention
from lidr.training.numerics import autocast_dtype
from lidr.training.segments import Segments

PACKED = "lidr_packed"


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    packed_segments: Segments | None = None,
    keep_weights: bool = False,
    **_: Any,
) -> tuple[Tensor, None]:
    """The attention function of the interface.

    Args:
        query: (1, heads, time, width); key and value with as many heads or a divisor of them.
        packed_segments, keep_weights: what the forward was called with; see `cpu_attention`.

    Returns:
        (1, time, heads, width), and no weights.
    """
    if packed_segments is None:
        raise RuntimeError("a packed model was called without packed_segments")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key, value = (_autocast(t) for t in (query, key, value))
    if query.device.type == "cpu":
        return _on_cpu(query, key, value, packed_segments, scale, keep_weights), None
    if has_varlen(query):
        return _varlen(query, key, value, packed_segments, scale), None
    return _by_segment(query, key, value, packed_segments, scale), None


def _autocast(tensor: Tensor) -> Tensor:
    """What autocast does to the arguments of PyTorch's own attention."""
    return tensor.to(autocast_dtype(tensor.device) or tensor.dtype)


# Matrix products take the time there, and its loops over blocks would be compiled anew for every row.
_on_cpu: Callable[..., Tensor] = torch.compiler.disable(segment_attention)  # type: ignore[no-untyped-call]


def _varlen(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    """One kernel; a segment sees all of its prefix."""
    tables = segments.tables
    out = varlen(
        query[0].transpose(0, 1),
        key[0].index_select(1, tables.key_index).transpose(0, 1),
        value[0].index_select(1, tables.key_index).transpose(0, 1),
        tables.query_ends,
        tables.key_ends,
        segments.longest_query,
        segments.longest_key,
        scale,
    )
    return out[None]


def _by_segment(query: Tensor, key: Tensor, value: Tensor, segments: Segments, scale: float) -> Tensor:
    parts = []
    for segment in segments.list:
        own = slice(segment.start, segment.end)
        prefix = slice(segment.prefix, segment.prefix_end)
        k, v = (torch.cat([t[:, :, prefix], t[:, :, own]], dim=2) for t in (key, value))
        length = segment.end - segment.start
        mask = torch.ones(length, segment.keys, dtype=torch.bool, device=query.device)
        out = scaled_dot_product_attention(
            query[:, :, own],
            k,
            v,
            attn_mask=mask.tril(segment.keys - length),
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        parts.append(out)
    return torch.cat(parts, dim=2).transpose(1, 2)


AttentionInterface.register(PACKED, packed_attention)
