"""Matrix products of fp32 on the CPU by oneDNN, which is faster at them than what PyTorch takes by default."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear as torch_linear

from lidr.training.numerics import autocast_dtype


def times(x: Float[Tensor, "*rows width"], weight: Float[Tensor, "out width"]) -> Float[Tensor, "*rows out"]:
    """x @ weight.T without a gradient; `weight` may be a transposed view."""
    if not _by_onednn(x, weight):
        return x @ weight.T
    return _product(x, weight, None)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias, as `torch.nn.functional.linear` has it, autocast included."""
    if autocast_dtype(x.device) is not None or not _by_onednn(x, weight):
        return torch_linear(x, weight, bias)
    out: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        needs_x, needs_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if needs_weight else None, weight if needs_x else None)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = grads[0].flatten(0, -2)
        return (
            None if weight is None else times(grads[0], weight.T),
            None if x is None else rows.T @ x.flatten(0, -2),
            rows.sum(0) if ctx.needs_input_grad[2] else None,
        )


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    fp32 = x.dtype == weight.dtype == torch.float32
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return fp32 and x.device.type == "cpu" and x.numel() > 0 and available


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return out
