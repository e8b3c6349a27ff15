"""A frozen linear layer with a low-rank adapter (LoRA, arXiv 2106.09685), as one operation.

peft makes it of six: it turns the input into the adapter's fp32, autocast turns it back, and the adapter's share is
made, scaled and added in tensors of its own. Here the share goes into the layer's output by the matrix product
itself, and of the input nothing is kept but the tensor that other layers share.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from lidr.training.fused import gate_gradients, gated, output_dtype
from lidr.training.products import times


class Adapted(NamedTuple):
    """What y = x W^T + bias + scale (x A^T) B^T is made of; W and the bias are frozen."""

    weight: Float[Tensor, "out width"]
    bias: Float[Tensor, " out"] | None
    a: Float[Tensor, "rank width"]
    b: Float[Tensor, "out rank"]
    scale: float

    @classmethod
    def of(cls, module: Any) -> Adapted | None:
        """Of a peft layer that computes just this; None of any other module."""
        if type(module) is not LoraLinear or len(module.active_adapters) != 1:
            return None
        name = module.active_adapters[0]
        if (
            name not in module.lora_A
            or name in module.lora_variant
            or module.merged
            or module.disable_adapters
        ):
            return None
        parts: tuple[Any, ...] = (module.lora_dropout[name], module.lora_A[name], module.lora_B[name])
        base: Any = module.base_layer
        dropout, a, b = parts
        plain = type(base) is nn.Linear and not any(p.requires_grad for p in base.parameters())
        drops = type(dropout) is not nn.Identity and dropout.p > 0
        if not plain or drops or a.bias is not None or b.bias is not None:
            return None
        return cls(base.weight, base.bias, a.weight, b.weight, float(module.scaling[name]))

    def to(self, dtype: torch.dtype) -> Adapted:
        """In another type; gradients come back in the parameters' own."""
        bias = None if self.bias is None else self.bias.to(dtype)
        return Adapted(self.weight.to(dtype), bias, self.a.to(dtype), self.b.to(dtype), self.scale)


def linear(x: Float[Tensor, "*rows width"], layer: Adapted) -> Float[Tensor, "*rows out"]:
    """The layer's output; under autocast in its precision."""
    dtype = output_dtype(x, layer.weight)
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = _Adapted.apply(x.to(dtype), *layer.to(dtype))  # type: ignore[no-untyped-call]
    return out


def swiglu_down(gate: Tensor, up: Tensor, layer: Adapted) -> Tensor:
    """The layer's output for silu(gate) * up, which is computed again in the backward rather than kept."""
    dtype = output_dtype(gate, layer.weight)
    with torch.autocast(gate.device.type, enabled=False):
        own = layer.to(dtype)
        out: Tensor = _SwiGluAdapted.apply(gate.to(dtype), up.to(dtype), *own)  # type: ignore[no-untyped-call]
    return out


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *parts: Any) -> Tensor:
        layer = Adapted(*parts)
        out, low = _forward(x, layer)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, low, layer.weight, layer.a, layer.b)
            ctx.scale = layer.scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, low, weight, a, b = ctx.saved_tensors
        d_low = _scaled(grads[0].flatten(0, -2) @ b, ctx.scale)
        d_x = _d_input(grads[0], d_low, weight, a) if ctx.needs_input_grad[0] else None
        d_a, d_b = _d_adapter(grads[0], x, low, d_low, ctx.scale)
        return d_x, None, None, d_a, d_b, None


class _SwiGluAdapted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, *parts: Any) -> Tensor:
        layer = Adapted(*parts)
        out, low = _forward(gated(gate, up), layer)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(gate, up, low, layer.weight, layer.a, layer.b)
            ctx.scale = layer.scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gate, up, low, weight, a, b = ctx.saved_tensors
        d_low = _scaled(grads[0].flatten(0, -2) @ b, ctx.scale)
        product = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
        d_product = _d_input(grads[0], d_low, weight, a)
        d_gate, d_up = gate_gradients(gate, up, d_product, product)
        d_a, d_b = _d_adapter(grads[0], product, low, d_low, ctx.scale)
        return d_gate, d_up, None, None, d_a, d_b, None


def _forward(x: Tensor, layer: Adapted) -> tuple[Tensor, Tensor]:
    """The output, and x A^T."""
    low = x.flatten(0, -2) @ layer.a.T
    out = times(x, layer.weight)
    if layer.bias is not None:
        out += layer.bias
    out.view(-1, out.shape[-1]).addmm_(low, layer.b.T, alpha=layer.scale)
    return out, low


def _d_input(grad: Tensor, d_low: Tensor, weight: Tensor, a: Tensor) -> Tensor:
    d_x = times(grad, weight.T)
    d_x.view(-1, d_x.shape[-1]).addmm_(d_low, a)
    return d_x


def _d_adapter(grad: Tensor, x: Tensor, low: Tensor, d_low: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    return d_low.T @ x.flatten(0, -2), _scaled(grad.flatten(0, -2).T @ low, scale)


def _scaled(tensor: Tensor, scale: float) -> Tensor:
    return tensor if scale == 1 else tensor.mul_(scale)
