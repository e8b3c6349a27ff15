"""Decoder layers of Llama's form in few kernels, on CUDA.

Where few rows go through a layer, each of its small operators takes as long to start as to run, in a captured graph
too. Norms and gates are a kernel each (`lidr.kernels`), rotary embeddings are part of attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from lidr import kernels
from lidr.engines.fused import FusedLayer, has_form
from lidr.engines.product import Product


class CudaProduct(Product):
    """As `Product`; the weight is the layer's own."""

    def __init__(self, module: nn.Linear) -> None:
        self.weight, self.bias = module.weight, module.bias

    def _then(self, x: Tensor, operation: str) -> Tensor:
        out = linear(x, self.weight, self.bias)
        return silu(out) if operation == "swish" else out

    def _with(self, x: Tensor, other: Tensor, operation: str) -> Tensor:
        if operation == "add" and self.bias is None:
            return torch.addmm(other, x, self.weight.t())
        out = linear(x, self.weight, self.bias)
        return out + other if operation == "add" else out * other


class CudaLayer(FusedLayer):
    """What a layer computes in an engine's pass; called without a pass it is the layer's own.

    Args:
        layer: `has_cuda_form`.
    """

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        others = (attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
        self._qkv = [CudaProduct(m) for m in (attention.q_proj, attention.k_proj, attention.v_proj)]
        super().__init__(layer, self._qkv[0], {module: CudaProduct(module) for module in others}, None)

    def _heads(self, x: Tensor) -> Sequence[Tensor]:
        return [product(x).view(len(x), -1, self.width) for product in self._qkv]

    def _gated(self, x: Tensor) -> Tensor:
        if not kernels.serves(x):
            return super()._gated(x)
        gate, up = self.gate(x), self.up(x)
        out = torch.empty_like(gate)
        kernels.gate_forward(gate, up, out)
        return out

    def _normed(self, x: Tensor, norm: Any) -> Tensor:
        if not kernels.serves(x):
            return super()._normed(x, norm)
        out = torch.empty_like(x)
        kernels.rms_forward(x.contiguous(), norm.weight, norm.variance_epsilon, 0.0, out)
        return out


def has_cuda_form(layer: object) -> bool:
    """Whether a module is a layer that `CudaLayer` computes."""
    return has_form(layer, _is_linear)


def _is_linear(module: object) -> bool:
    return type(module) is nn.Linear and "forward" not in vars(module)
