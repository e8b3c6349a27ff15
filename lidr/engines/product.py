"""The product of rows with a weight that is laid out for a CPU's matrix kernels, and what is computed with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Product:
    """x W^T + b.

    Args:
        weight: (out, in) as a layer has it.
        bias: (out,), or None.
    """

    def __init__(self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None) -> None:
        self.weight, self.bias = _blocked(weight), bias

    def __call__(self, x: Float[Tensor, "*rows in"]) -> Float[Tensor, "*rows out"]:
        """The product alone."""
        return self._then(x, "none")

    def activated(self, x: Float[Tensor, "*rows in"]) -> Float[Tensor, "*rows out"]:
        """SiLU of it."""
        return self._then(x, "swish")

    def plus(self, x: Float[Tensor, "*rows in"], other: Float[Tensor, "*rows out"]) -> Tensor:
        """It and another value."""
        return self._with(x, other, "add")

    def times(self, x: Float[Tensor, "*rows in"], other: Float[Tensor, "*rows out"]) -> Tensor:
        """It times another value."""
        return self._with(x, other, "mul")

    def _then(self, x: Tensor, operation: str) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, operation, [], "")
        return out

    def _with(self, x: Tensor, other: Tensor, operation: str) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, operation)
        return out


def has_product(module: object) -> bool:
    """Whether a module is a linear layer that can be one."""
    if type(module) is not nn.Linear or "forward" in vars(module):
        return False
    weight = module.weight
    return weight.device.type == "cpu" and _supported(weight.dtype)


def _supported(dtype: torch.dtype) -> bool:
    """By oneDNN on this processor."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def alike(layers: Sequence[Any]) -> bool:
    """Whether linear layers that read the same input can be one product: of one precision, all with a bias or none."""
    return len({(layer.weight.dtype, layer.bias is None) for layer in layers}) == 1


@torch.no_grad()
def _blocked(weight: Tensor) -> Tensor:
    blocked: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    return blocked
