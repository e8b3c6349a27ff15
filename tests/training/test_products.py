"""Products by oneDNN against PyTorch's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import linear

from lidr.training import fusing, products


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=25)
@given(
    batch=st.lists(st.integers(1, 4), max_size=2),
    rows=st.integers(1, 9),
    width=st.integers(1, 40),
    out=st.integers(1, 40),
    bias=st.booleans(),
)
def test_linear_is_torchs(batch: list[int], rows: int, width: int, out: int, bias: bool) -> None:
    def results(function) -> list[Tensor]:  # type: ignore[no-untyped-def]
        leaves = [normal(*batch, rows, width), normal(out, width, seed=1), normal(out, seed=2)]
        x, weight, added = (leaf.requires_grad_() for leaf in leaves)
        y = function(x, weight, added if bias else None)
        y.backward(normal(*y.shape, seed=3))
        return [y.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    ours, theirs = results(products.linear), results(linear)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("trains", ["x", "weight"])
def test_only_what_is_needed_is_kept_and_computed(trains: str) -> None:
    x, weight = normal(3, 5), normal(4, 5, seed=1)
    leaf = (x if trains == "x" else weight).requires_grad_()
    y = products.linear(x, weight, None)
    assert [t is not None for t in y.grad_fn.saved_tensors] == [trains == "weight", trains == "x"]
    y.sum().backward()
    assert leaf.grad is not None
    assert (weight if trains == "x" else x).grad is None


def test_under_autocast_it_is_autocasts() -> None:
    x, weight = normal(3, 5), normal(4, 5, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(products.linear(x, weight, None), linear(x, weight))


def test_a_transposed_view_and_other_precisions() -> None:
    x, weight = normal(2, 3, 5), normal(5, 4, seed=1)
    torch.testing.assert_close(products.times(x, weight.T), x @ weight)
    assert torch.equal(products.times(x.bfloat16(), weight.T.bfloat16()), x.bfloat16() @ weight.bfloat16())
    assert products.times(x[:0], weight.T).shape == (0, 3, 4)


def test_layers_of_fp32_are_replaced_and_no_others() -> None:
    layers = nn.ModuleDict({"fp32": nn.Linear(6, 4), "bf16": nn.Linear(6, 4, dtype=torch.bfloat16)})
    expected = layers["fp32"](normal(2, 6))
    fusing.fuse(layers)
    assert [name for name, layer in layers.items() if "forward" in vars(layer)] == ["fp32"]
    torch.testing.assert_close(layers["fp32"](normal(2, 6)), expected)
