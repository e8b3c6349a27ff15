"""A layer with LoRA as one operation, against peft's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.functional import silu

from lidr.training import adapted
from lidr.training.adapted import Adapted


def layer(*, bias: bool = False, rank: int = 3, **options: Any) -> Any:
    """A peft layer of 12 inputs and 8 outputs whose adapter does something."""
    torch.manual_seed(0)
    config = LoraConfig(r=rank, lora_alpha=6, target_modules=["0"], **options)
    found: Any = get_peft_model(nn.Sequential(nn.Linear(12, 8, bias=bias)), config).base_model.model[0]  # type: ignore[arg-type]
    nn.init.normal_(found.lora_B["default"].weight)
    return found.eval()


def gradients(out: Tensor, *of: Tensor) -> list[Tensor]:
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    return [out, *torch.autograd.grad(out, of, grad)]


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_it_is_pefts_layer(bias: bool, bf16: bool) -> None:
    """Output and gradients of input, A and B; under autocast with a frozen part in bf16, as it trains."""
    module = layer(bias=bias)
    if bf16:
        module.base_layer.bfloat16()
    own = Adapted.of(module)
    assert own is not None
    assert own.scale == 2.0
    x = torch.randn(2, 5, 12, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        expected, found = module(x), adapted.linear(x, own)
    pairs = zip(gradients(found, x, own.a, own.b), gradients(expected, x, own.a, own.b), strict=True)
    for ours, theirs in pairs:
        assert ours.dtype == theirs.dtype
        tolerance = (3e-2 if bf16 else 1e-5) * theirs.float().abs().max().item()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def test_a_gated_product_goes_through_it() -> None:
    own = Adapted.of(layer())
    assert own is not None
    gate, up = (torch.randn(2, 5, 12, requires_grad=True) for _ in range(2))
    of = (gate, up, own.a, own.b)
    found = gradients(adapted.swiglu_down(gate, up, own), *of)
    expected = gradients(adapted.linear(silu(gate) * up, own), *of)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_it_keeps_its_input_and_little_else() -> None:
    """Of 2 x 5 tokens: the input itself, not a copy, and 3 numbers a token."""
    own, kept = Adapted.of(layer()), []
    assert own is not None
    x = torch.randn(2, 5, 12, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        adapted.linear(x, own)
    mine = {own.weight.data_ptr(), own.a.data_ptr(), own.b.data_ptr(), x.data_ptr()}
    assert x.data_ptr() in {t.data_ptr() for t in kept}
    assert [tuple(t.shape) for t in kept if t.data_ptr() not in mine] == [(10, 3)]


def change(name: str) -> Any:
    """A layer that peft computes otherwise."""
    if name == "dropout":
        return layer(lora_dropout=0.5)
    if name == "dora":
        return layer(use_dora=True)
    if name == "bias of B":
        return layer(lora_bias=True, bias=True)
    module = layer()
    if name == "off":
        module.enable_adapters(False)
    elif name == "merged":
        module.merge()
    elif name == "base trains":
        module.base_layer.weight.requires_grad_()
    else:
        return nn.Linear(12, 8)
    return module


@pytest.mark.parametrize("name", ["dropout", "dora", "bias of B", "off", "merged", "base trains", "no LoRA"])
def test_other_layers_are_left_to_peft(name: str) -> None:
    assert Adapted.of(change(name)) is None
