"""Linear layers on the CPU whose weights are laid out for its matrix kernels once, and not in every product.

A product with the few rows of a decoding step takes less time than the way of the weight into the layout that the
kernel works on (oneDNN's blocked formats). A second copy of the weights is the price. Layers that read the same input
are one product: each call has its own cost, and narrow products fill the kernel badly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lidr import machine
from lidr.machine import GIB

log = logging.getLogger(__name__)
_DTYPES = (torch.float32, torch.bfloat16)
_SAME_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
_SHARE = 0.25  # of the available memory that the copy may take

Forward = Callable[[Tensor], Tensor]


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
    layers: list[Any] = [module for module in model.modules() if _can(module)]
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
    forwards: dict[nn.Module, Forward] = {}
    for siblings in _siblings(model):
        joined = _Joined(siblings)
        forwards |= {layer: partial(joined.part, place) for place, layer in enumerate(siblings)}
    alone = [layer for layer in layers if layer not in forwards]
    blocked = {key: _blocked(weights[key]) for key in {id(layer.weight) for layer in alone}}
    return forwards | {layer: _forward(blocked[id(layer.weight)], layer.bias) for layer in alone}


def _siblings(model: nn.Module) -> Iterator[list[Any]]:
    """Layers that read the same input."""
    for module in model.modules():
        for names in _SAME_INPUT:
            layers: list[Any] = [getattr(module, name, None) for name in names]
            if all(map(_can, layers)) and len({(la.weight.dtype, la.bias is None) for la in layers}) == 1:
                yield layers


class _Joined:
    """One product for layers that read the same input, computed for the first that is asked; each takes its part."""

    def __init__(self, layers: list[Any]) -> None:
        biases = [layer.bias for layer in layers if layer.bias is not None]
        weight = _blocked(torch.cat([layer.weight.detach() for layer in layers]))
        self.multiply = _forward(weight, torch.cat(biases) if biases else None)
        self.widths = [layer.out_features for layer in layers]
        self._input: Tensor | None = None
        self._left: dict[int, Tensor] = {}

    def part(self, place: int, x: Tensor) -> Tensor:
        if x is not self._input or place not in self._left:
            self._input, self._left = x, dict(enumerate(torch.split(self.multiply(x), self.widths, dim=-1)))
        out = self._left.pop(place)
        if not self._left:
            self._input = None
        return out


def _can(module: Any) -> bool:
    if type(module) is not nn.Linear or "forward" in vars(module):
        return False
    weight = module.weight
    supported: bool = weight.device.type == "cpu" and weight.dtype in _DTYPES and _has_kernels()
    return supported


def _has_kernels() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


@torch.no_grad()
def _blocked(weight: Tensor) -> Tensor:
    blocked: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    return blocked


def _forward(weight: Tensor, bias: Tensor | None) -> Forward:
    multiply = torch.ops.mkldnn._linear_pointwise.default

    def forward(x: Tensor) -> Tensor:
        out: Tensor = multiply(x, weight, bias, "none", [], "")
        return out

    return forward
