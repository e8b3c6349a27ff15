"""Norm, rotary embedding and gated activation with fewer passes over memory and less of it kept.

Eager transformers makes each of these of many operations, every one of which reads and writes a whole tensor, and
keeps several of them for the backward. The functions here go through a tensor once, in pieces that stay in a CPU's
cache, and keep the inputs alone. Where autocast is on they give what it would turn their output into anyway.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lidr import kernels
from lidr.training.numerics import autocast_dtype
from lidr.training.pieces import row_pieces
from lidr.training.products import times

_PIECE = 2**19  # elements of a tensor that is computed in fp32
_PIECE_BYTES = 2**21  # of one that is computed as it is
_LEAST_SCALE = 1e-6  # of a norm, so that its output divided by it is its normed input


def _pieces(rows: Tensor) -> list[slice]:
    return row_pieces(len(rows), rows.shape[1:].numel(), _PIECE)


def _own_pieces(rows: Tensor) -> list[slice]:
    return row_pieces(len(rows), rows.shape[1], _PIECE_BYTES // rows.element_size())


def output_dtype(tensor: Tensor, other: Tensor) -> torch.dtype:
    """What autocast casts to, or what two tensors promote to."""
    return autocast_dtype(tensor.device) or torch.promote_types(tensor.dtype, other.dtype)


def rms_norm(x: Tensor, weight: Tensor, eps: float, offset: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * (offset + weight) over the last dimension; computed in fp32."""
    dtype = output_dtype(x, weight)
    with torch.autocast(x.device.type, enabled=False):
        normed: Tensor = _RmsNorm.apply(x, weight, eps, offset, dtype)  # type: ignore[no-untyped-call]
    return normed


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, offset: float, dtype: torch.dtype) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out = torch.empty(rows.shape, dtype=dtype, device=x.device)
        if kernels.serves(x):
            inverse = kernels.rms_forward(rows.contiguous(), weight, eps, offset, out)
        else:
            inverse = _normed(rows, weight.float() + offset, eps, out)
        out = out.view(x.shape)
        if any(ctx.needs_input_grad):
            ctx.from_output = _output_suffices(x, weight, offset, dtype)
            ctx.save_for_backward(out if ctx.from_output else x, weight, inverse)
            ctx.offset, ctx.dtype = offset, x.dtype
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kept, weight, inverse = ctx.saved_tensors
        rows, grad = kept.reshape(-1, kept.shape[-1]), grads[0].reshape(-1, kept.shape[-1])
        d_rows = torch.empty(rows.shape, dtype=ctx.dtype, device=rows.device)
        trains = ctx.needs_input_grad[1]
        if kernels.serves(kept):
            d_weight = kernels.rms_backward(
                grad.contiguous(), rows.contiguous(), weight, inverse, ctx.offset, d_rows, trains
            )
        else:
            scale = weight.float() + ctx.offset
            factor = (1 / scale).expand(len(rows), -1) if ctx.from_output else inverse
            d_weight = _norm_gradients(grad, rows, factor, scale, inverse, d_rows, trains)
        d_weight = None if d_weight is None else d_weight.to(weight.dtype)
        return d_rows.view(kept.shape), d_weight, None, None, None


def _output_suffices(x: Tensor, weight: Tensor, offset: float, dtype: torch.dtype) -> bool:
    """Whether the backward can have x / rms from the output, which the layers it goes to keep anyway.

    The output is half as large as x where it is in half precision. On a GPU the question would have to wait.
    """
    if x.is_cuda or dtype.itemsize >= x.dtype.itemsize:
        return False
    return bool(((weight.float() + offset).abs() > _LEAST_SCALE).all())


def _normed(rows: Tensor, scale: Tensor, eps: float, out: Tensor) -> Tensor:
    """Fills `out`; returns 1 / rms of each row."""
    inverse = torch.empty(len(rows), 1, dtype=torch.float32, device=rows.device)
    for piece in _pieces(rows):
        values = rows[piece].float()
        root = values.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        out[piece] = (values * root).mul_(scale)
        inverse[piece] = root
    return inverse


def _norm_gradients(
    grad: Tensor, rows: Tensor, factor: Tensor, scale: Tensor, inverse: Tensor, d_rows: Tensor, trains: bool
) -> Tensor | None:
    """Fills `d_rows`; the weight's gradient where it trains. `rows` times `factor` is the normed input."""
    d_weight = torch.zeros_like(scale) if trains else None
    for piece in _pieces(rows):
        normed = rows[piece] * factor[piece]
        slope = grad[piece].float()
        if d_weight is not None:
            d_weight += (slope * normed).sum(0)
        slope = slope * scale
        along = (slope * normed).mean(-1, keepdim=True)
        d_rows[piece] = slope.sub_(normed.mul_(along)).mul_(inverse[piece])
    return d_weight


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up."""
    gated: Tensor = _SwiGlu.apply(gate, up)  # type: ignore[no-untyped-call]
    return gated


def swiglu_down(gate: Tensor, up: Tensor, weight: Tensor) -> Tensor:
    """(silu(gate) * up) @ weight.T; the product is computed again in the backward rather than kept."""
    dtype = output_dtype(gate, weight)
    with torch.autocast(gate.device.type, enabled=False):
        out: Tensor = _SwiGluDown.apply(gate.to(dtype), up.to(dtype), weight.to(dtype))  # type: ignore[no-untyped-call]
    return out


class _SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(gate, up)
        return gated(gate, up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        return gate_gradients(gate, up, grads[0], None)


class _SwiGluDown(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, weight: Tensor) -> Tensor:
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(gate, up, weight)
        return times(gated(gate, up), weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, weight = ctx.saved_tensors
        product = (
            torch.empty(gate.shape, dtype=gate.dtype, device=gate.device) if ctx.needs_input_grad[2] else None
        )
        d_gate, d_up = gate_gradients(gate, up, times(grads[0], weight.T), product)
        if product is None:
            return d_gate, d_up, None
        return d_gate, d_up, grads[0].flatten(0, -2).T @ product.flatten(0, -2)


def gated(gate: Tensor, up: Tensor) -> Tensor:
    out = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    if kernels.serves(gate):
        kernels.gate_forward(gate.contiguous(), up.contiguous(), out)
        return out
    g, u, result = (t.view(-1, gate.shape[-1]) for t in (gate, up, out))
    for piece in _own_pieces(g):
        torch.ops.aten.silu.out(g[piece], out=result[piece]).mul_(u[piece])
    return out


def gate_gradients(gate: Tensor, up: Tensor, grad: Tensor, product: Tensor | None) -> tuple[Tensor, Tensor]:
    """Gradients of gate and up; fills `product` with silu(gate) * up where it is given."""
    d_gate, d_up = (torch.empty(gate.shape, dtype=gate.dtype, device=gate.device) for _ in range(2))
    if kernels.serves(gate):
        gate, up, grad = (t.contiguous() for t in (gate, up, grad))
        kernels.gate_backward(gate, up, grad, d_gate, d_up, product)
        return d_gate, d_up
    width = gate.shape[-1]
    g, u, slope, by_gate, by_up = (t.reshape(-1, width) for t in (gate, up, grad, d_gate, d_up))
    for piece in _own_pieces(g):
        activated = torch.ops.aten.silu.out(g[piece], out=by_up[piece])
        if product is not None:
            torch.mul(activated, u[piece], out=product.view(-1, width)[piece])
        both = torch.mul(slope[piece], u[piece], out=by_gate[piece])
        torch.ops.aten.silu_backward.grad_input(both, g[piece], grad_input=both)
        activated.mul_(slope[piece])
    return d_gate, d_up


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding: x * cos + (-x2, x1) * sin, with x1, x2 the halves of the last dimension.

    Args:
        x: (batch, heads, time, width).
        cos, sin: (batch, time, width).
    """
    dtype = output_dtype(x, cos)
    with torch.autocast(x.device.type, enabled=False):
        rotated: Tensor = _Rotate.apply(x, cos, sin, dtype)  # type: ignore[no-untyped-call]
    return rotated


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.dtype = x.dtype
        return _rotated(x, cos, sin, dtype, -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _rotated(grads[0], cos, sin.roll(sin.shape[-1] // 2, -1), ctx.dtype, 1), None, None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, dtype: torch.dtype, sign: int) -> Tensor:
    """(x1 cos1 + sign x2 sin1, x2 cos2 - sign x1 sin2), laid out as (batch, time, heads, width) in memory."""
    rows = x.transpose(1, 2)
    out = torch.empty(rows.shape, dtype=dtype, device=x.device)
    if kernels.serves(x):
        cos, sin = (t.expand(len(x), -1, -1).reshape(-1, x.shape[-1]) for t in (cos, sin))
        kernels.rotate(rows.flatten(0, 1).contiguous(), cos, sin, out.flatten(0, 1), sign)
        return out.transpose(1, 2)
    half = rows.shape[-1] // 2
    for piece in _pieces(rows[0]):
        values = rows[:, piece].float()
        first, second = values[..., :half], values[..., half:]
        c, s = cos[:, piece, None].float(), sin[:, piece, None].float()
        out[:, piece, :, :half] = (first * c[..., :half]).addcmul_(second, s[..., :half], value=sign)
        out[:, piece, :, half:] = (second * c[..., half:]).addcmul_(first, s[..., half:], value=-sign)
    return out.transpose(1, 2)
