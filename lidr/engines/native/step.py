"""Attention of a decoding step, and norms, by compiled code: what `step.cpp` computes, for tensors."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_float, c_int64, c_void_p
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from lidr.engines.native.build import library
from lidr.engines.queries import Queries

if TYPE_CHECKING:
    from lidr.engines.cached_attention import Embeddings

_LOADED = 32  # values that are loaded together
_TOGETHER = 4  # queries that read keys and values together
_TASK = 16  # queries that a thread takes together
_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}


class _Step(ctypes.Structure):
    """`Step` of `step.cpp`."""

    _fields_ = (
        *((name, c_int64) for name in ("rows", "heads", "kv_heads", "width", "room", "threads", "parts")),
        *((name, c_void_p) for name in ("starts", "lengths", "query", "key", "value")),
        *((f"{name}_{of}", c_int64) for name in ("query", "key", "value") for of in ("token", "head")),
        *((name, c_void_p) for name in ("cos", "sin", "keys", "values", "out", "turned", "scores")),
        ("scale", c_float),
    )


class Native:
    """The compiled code for one precision.

    Args:
        code: `library()`.
        dtype: of weights, keys and values.
    """

    def __init__(self, code: Any, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.attend = getattr(code, f"lidr_attend_{_NAMES[dtype]}")
        self.attend.argtypes, self.attend.restype = [c_void_p], None
        self._norm = getattr(code, f"lidr_norm_{_NAMES[dtype]}")
        self._norm.argtypes = [*[c_void_p] * 3, c_int64, c_int64, c_float, c_int64]
        self._norm.restype = None

    def normed(
        self, x: Float[Tensor, "rows width"], weight: Float[Tensor, " width"], epsilon: float
    ) -> Float[Tensor, "rows width"]:
        """Root mean square norm (arXiv 1910.07467)."""
        x, out = x.contiguous(), torch.empty_like(x)
        threads = torch.get_num_threads()
        self._norm(x.data_ptr(), weight.data_ptr(), out.data_ptr(), *x.shape, epsilon, threads)
        return out


def native(device: torch.device, dtype: torch.dtype, *widths: int) -> Native | None:
    """The compiled code, where it computes for a device, a precision, and vectors of these widths."""
    if device.type != "cpu" or dtype not in _NAMES or any(width % _LOADED for width in widths):
        return None
    code = library()
    return None if code is None else Native(code, dtype)


class NativeNewest:
    """As `Newest`, by compiled code: every row is read as far as it goes, and guesses cost no call of their own."""

    def __init__(self, code: Native, queries: Sequence[Queries]) -> None:
        self.code, self.queries = code, queries
        self._steps: list[_Step] = []
        self._held: list[Tensor] = []  # what the steps point to

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
        if not self._steps:
            self._begin(query, key, scale, embeddings)
        query, key, value = map(_dense, (query, key, value))
        out = torch.empty(query.shape, dtype=query.dtype)
        size, start = out.element_size(), 0
        for step, own in zip(self._steps, self.queries, strict=True):
            kept = own.cohort.layers[layer]
            for name, tensor in (("query", query), ("key", key), ("value", value)):
                token, head = tensor.stride()[:2]
                setattr(step, name, tensor.data_ptr() + start * token * size)
                setattr(step, f"{name}_token", token)
                setattr(step, f"{name}_head", head)
            step.keys, step.values = kept.keys.data_ptr(), kept.values.data_ptr()
            step.out = out.data_ptr() + start * out.stride(0) * size
            self.code.attend(ctypes.byref(step))
            start += len(own)
        out[start:] = 0
        return out

    def _begin(self, query: Tensor, key: Tensor, scale: float, embeddings: Embeddings | None) -> None:
        """What all layers of the pass share."""
        threads, (tokens, heads, width) = torch.get_num_threads(), query.shape
        turned = torch.empty(tokens, heads, width, dtype=torch.float32)
        room = max(own.cohort.room for own in self.queries)
        scores = torch.empty(threads, _TOGETHER, room, dtype=torch.float32)
        angles = [t[0].to(self.code.dtype).contiguous() for t in embeddings or ()]
        self._held += [turned, scores, *angles]
        start = 0
        for own in self.queries:
            starts, lengths = own.starts, own.lengths
            self._held += [starts, lengths]
            step = _Step(rows=len(lengths), heads=heads, kv_heads=key.shape[1], width=width, scale=scale)
            step.room, step.threads = own.cohort.room, threads
            step.parts = -(-max(own.counts) * (heads // key.shape[1]) // _TASK)
            step.starts, step.lengths = starts.data_ptr(), lengths.data_ptr()
            step.turned, step.scores = turned.data_ptr(), scores.data_ptr()
            if angles:
                step.cos, step.sin = (t[start:].data_ptr() for t in angles)
            self._steps.append(step)
            start += len(own)


def _dense(heads: Tensor) -> Tensor:
    """With the values of a head one after the other."""
    return heads if heads.stride(-1) == 1 else heads.contiguous()
