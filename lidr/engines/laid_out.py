"""A model's layers as an engine computes them: on CUDA in few kernels (`fused_cuda`), on the CPU as follows.

Linear layers whose weights are laid out for its matrix kernels once, and not in every product.

A product with the few rows of a decoding step takes less time than the way of the weight into the layout that the
kernel works on (oneDNN's blocked formats). A second copy of the weights is the price. Layers that read the same input
are one product: each call has its own cost, and narrow products fill the kernel badly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lidr import machine
from lidr.engines.fused import FusedLayer, has_form
from lidr.engines.fused_cuda import CudaLayer, has_cuda_form
from lidr.engines.native.step import Native, native
from lidr.engines.product import Product, alike, has_product
from lidr.machine import GIB

log = logging.getLogger(__name__)
_SAME_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
_SHARE = 0.25  # of the available memory that the copy may take

Forward = Callable[..., Tensor]


class LaidOut:
    """The laid-out weights of a model's linear layers; made when they are first used."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._forwards: dict[nn.Module, Forward] | None = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """The model computes with them while the context lasts."""
        if self._forwards is None:
            self._forwards = _lay_out(self.model)
        for module, forward in self._forwards.items():
            module.forward = forward
        try:
            yield
        finally:
            for module in self._forwards:  # another stream of the same engine may have ended before
                vars(module).pop("forward", None)


def _lay_out(model: nn.Module) -> dict[nn.Module, Forward]:
    """Nothing where the device, the precision or the memory does not allow it."""
    if all(weight.is_cuda for weight in model.parameters()):
        return {layer: CudaLayer(layer) for layer in filter(has_cuda_form, model.modules())}
    layers: list[Any] = [module for module in model.modules() if has_product(module)]
    weights: dict[int, Tensor] = {id(layer.weight): layer.weight for layer in layers}
    if not layers:
        return {}
    size = sum(weight.numel() * weight.element_size() for weight in weights.values())
    free = machine.available_memory(torch.device("cpu"))
    if size > _SHARE * free:
        log.info(
            "linear layers lay their weights out in every step: a copy of %.1f GiB is too much for %.1f GiB"
            " that are free",
            size / GIB,
            free / GIB,
        )
        return {}
    fused: list[Any] = list(filter(has_form, model.modules()))
    joined = {siblings[0]: _Joined(siblings) for siblings in _siblings(model, {la.mlp for la in fused})}
    parts: dict[nn.Module, Forward] = {
        layer: partial(one.part, place) for one in joined.values() for place, layer in enumerate(one.layers)
    }
    alone = _products(layer for layer in layers if layer not in parts)
    whole = {la: FusedLayer(la, joined[la.self_attn.q_proj].product, alone, _native(la)) for la in fused}
    return parts | alone | whole


def _native(layer: Any) -> Native | None:
    weight = layer.input_layernorm.weight
    return native(weight.device, weight.dtype, len(weight))


def _products(layers: Iterator[Any]) -> dict[nn.Module, Product]:
    """One for each layer; a weight that several have is laid out once."""
    made: dict[tuple[int, int], Product] = {}
    found: dict[nn.Module, Product] = {}
    for layer in layers:
        key = id(layer.weight), id(layer.bias)
        found[layer] = made[key] = made.get(key) or Product(layer.weight, layer.bias)
    return found


def _siblings(model: nn.Module, apart: Collection[nn.Module]) -> Iterator[list[Any]]:
    """Layers that read the same input, but for those of the modules `apart`."""
    for module in model.modules():
        for names in _SAME_INPUT if module not in apart else ():
            layers: list[Any] = [getattr(module, name, None) for name in names]
            if all(map(has_product, layers)) and alike(layers):
                yield layers


class _Joined:
    """One product for layers that read the same input, computed for the first that is asked; each takes its part."""

    def __init__(self, layers: list[Any]) -> None:
        self.layers = layers
        biases = [layer.bias for layer in layers if layer.bias is not None]
        weight = torch.cat([layer.weight.detach() for layer in layers])
        self.product = Product(weight, torch.cat(biases) if biases else None)
        self.widths = [layer.out_features for layer in layers]
        self._input: Tensor | None = None
        self._left: dict[int, Tensor] = {}

    def part(self, place: int, x: Tensor) -> Tensor:
        if x is not self._input or place not in self._left:
            self._input, self._left = x, dict(enumerate(torch.split(self.product(x), self.widths, dim=-1)))
        out = self._left.pop(place)
        if not self._left:
            self._input = None
        return out
