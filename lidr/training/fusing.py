"""Puts `fused` into a model: only where it gives, on the spot, what the model's own code gives."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from lidr.training import adapted, fused, products
from lidr.training.logprobs import plain_head
from lidr.training.numerics import autocast_dtype

log = logging.getLogger(__name__)
_ROTATE = "apply_rotary_pos_emb"
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}

_CAST_BY_US: WeakSet[nn.Module] = WeakSet()  # linear layers whose forward is never called


def fuse(model: nn.Module) -> None:
    """Replaces the forward of norms, gated activations and, in fp32 on the CPU, linear layers, in place."""
    count = 0
    for module in list(model.modules()):
        forward = _norm(module) or _gated(module) or _adapted(module) or _linear(module)
        if forward is not None and _same(module, forward):
            module.forward = forward
            count += 1
    log.debug(
        "%d norms, activations and linear layers of %s are computed our way", count, type(model).__name__
    )


def make_copies(model: nn.Module) -> None:
    """Makes autocast's copies of the weights before a step's first forward, on the CPU.

    Made one by one as layers are reached, each lies between two activations for the rest of the step, and what these
    leave is of no use to a micro-batch of another length.
    """
    dtype, head = autocast_dtype(torch.device("cpu")), plain_head(model)
    if dtype is None:
        return
    for module in model.modules():
        if type(module) is nn.Linear and module is not head and module not in _CAST_BY_US:
            weight = module.weight
            if weight.device.type == "cpu" and weight.requires_grad and weight.dtype != dtype:
                linear(weight.new_empty(0, weight.shape[1]), weight)


@contextmanager
def fused_rotary(model: nn.Module) -> Iterator[None]:
    """Replaces the rotary embedding, a function of the model family's code, while the context lasts."""
    undo = [_replace(found) for found in _rotary_modules(model)]
    try:
        yield
    finally:
        for action in reversed(undo):
            action()


def _norm(module: Any) -> Callable[[Tensor], Tensor] | None:
    name, eps = type(module).__name__, getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not name.endswith("RMSNorm") or eps is None or getattr(module, "weight", None) is None:
        return None
    offset = 1.0 if name.startswith("Gemma") else 0.0
    return lambda x: fused.rms_norm(x, module.weight, eps, offset)


def _gated(module: Any) -> Callable[[Tensor], Tensor] | None:
    names = ("gate_proj", "up_proj", "down_proj", "act_fn")
    if not all(isinstance(getattr(module, name, None), nn.Module) for name in names):
        return None
    if "silu" not in type(module.act_fn).__name__.lower():
        return None
    down = module.down_proj
    if type(down) is nn.Linear and down.bias is None:
        _CAST_BY_US.add(down)
        return lambda x: fused.swiglu_down(module.gate_proj(x), module.up_proj(x), down.weight)
    return partial(_gated_by, module)


def _gated_by(module: Any, x: Tensor) -> Tensor:
    gate, up, layer = module.gate_proj(x), module.up_proj(x), adapted.Adapted.of(module.down_proj)
    if layer is not None:
        return adapted.swiglu_down(gate, up, layer)
    out: Tensor = module.down_proj(fused.swiglu(gate, up))
    return out


def _adapted(module: Any) -> Callable[[Tensor], Tensor] | None:
    if adapted.Adapted.of(module) is None:
        return None
    own = module.forward

    def forward(x: Tensor) -> Tensor:
        layer = adapted.Adapted.of(
            module
        )  # as it is now: it may be switched off, and sharding exchanges parameters
        return own(x) if layer is None else adapted.linear(x, layer)

    return forward


def _linear(module: Any) -> Callable[[Tensor], Tensor] | None:
    if type(module) is not nn.Linear or module.weight.dtype != torch.float32:
        return None
    return lambda x: products.linear(x, module.weight, module.bias)


@torch.no_grad()
def _same(module: Any, forward: Callable[[Tensor], Tensor]) -> bool:
    """Whether both forwards agree on a sample."""
    parameter, width = next(module.parameters()), _width(module)
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(1, 3, width, generator=generator).to(parameter.device, parameter.dtype)
    return _close(forward(sample), module(sample))


def _width(module: Any) -> int:
    """Of its input."""
    of: Any = getattr(module, "gate_proj", module)
    return int(of.in_features if hasattr(of, "in_features") else of.weight.shape[-1])


def _close(ours: Tensor, theirs: Tensor) -> bool:
    tolerance = _TOLERANCE.get(theirs.dtype, 0.0)
    scale = theirs.float().abs().max()
    return ours.dtype == theirs.dtype and bool((ours - theirs).float().abs().max() <= tolerance * scale)


def _rotary_modules(model: nn.Module) -> list[ModuleType]:
    """The Python modules of the model's code that define a rotary embedding which `fused.rotate` computes."""
    names = {type(module).__module__ for module in model.modules()}
    found = [sys.modules[name] for name in sorted(names) if hasattr(sys.modules.get(name), _ROTATE)]
    return [module for module in found if _rotates_alike(getattr(module, _ROTATE))]


def _rotates_alike(theirs: Callable[..., Any]) -> bool:
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, heads, 3, 8, generator=generator) for heads in (4, 2))
    cos, sin = (torch.randn(1, 3, 8, generator=generator) for _ in range(2))
    try:
        expected = theirs(q, k, cos, sin)
    except (TypeError, ValueError, RuntimeError):
        return False
    return all(_close(fused.rotate(x, cos, sin), y) for x, y in zip((q, k), expected, strict=True))


def _replace(module: ModuleType) -> Callable[[], None]:
    original = getattr(module, _ROTATE)

    def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> Any:
        if unsqueeze_dim != 1:
            return original(q, k, cos, sin, unsqueeze_dim=unsqueeze_dim)
        return fused.rotate(q, cos, sin), fused.rotate(k, cos, sin)

    setattr(module, _ROTATE, rotate)
    return lambda: setattr(module, _ROTATE, original)
