"""The Triton kernels against PyTorch's operations: on a GPU, or with TRITON_INTERPRET=1 where Triton is installed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lidr import kernels
from lidr.training import fused, head

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and kernels.triton is not None
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = pytest.mark.skipif(
    not (torch.cuda.is_available() or INTERPRETED), reason="neither a CUDA device nor Triton's interpreter"
)
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


@pytest.fixture(params=TOLERANCE, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = request.param
    return chosen


@pytest.fixture(autouse=True)
def on_the_cpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    if INTERPRETED:
        monkeypatch.setattr(kernels, "on_device_of", lambda _: contextlib.nullcontext())
        monkeypatch.setattr(kernels, "serves", lambda _: True)


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(DEVICE, dtype)


def alike(
    function: Callable[..., Tensor], *tensors: Tensor, grad: Tensor, frozen: tuple[int, ...] = ()
) -> None:
    """Outputs and gradients of both, relative to the largest value."""
    found = []
    for serves in (kernels.serves, lambda _: False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kernels, "serves", serves)
            own = [t.clone().requires_grad_(i not in frozen) for i, t in enumerate(tensors)]
            out = function(*own)
            out.backward(grad)
            found.append([out.detach(), *(t.grad for t in own if t.requires_grad)])
    for ours, theirs in zip(*found, strict=True):
        assert ours is not None
        assert theirs is not None
        assert ours.dtype == theirs.dtype
        limit = TOLERANCE[tensors[0].dtype] * theirs.float().abs().max()
        assert (ours.float() - theirs.float()).abs().max() <= limit


@pytest.mark.parametrize("frozen", [(), (1,)], ids=["weight trains", "weight frozen"])
@pytest.mark.parametrize("rows", [3, 700])
def test_norm(dtype: torch.dtype, rows: int, frozen: tuple[int, ...]) -> None:
    """A width that is no power of 2, and more rows than programs that share them."""
    x, weight, grad = (random(*shape, dtype=dtype) for shape in ((2, rows, 40), (40,), (2, rows, 40)))
    alike(lambda x, w: fused.rms_norm(x, w, 1e-5, 1.0), x, weight, grad=grad, frozen=frozen)


def test_gates(dtype: torch.dtype) -> None:
    gate, up = (random(n, 5, 960, dtype=dtype)[:3] for n in (3, 4))
    down, grad = random(32, 960, dtype=dtype), random(3, 5, 32, dtype=dtype)
    alike(fused.swiglu, gate, up, grad=random(3, 5, 960, dtype=dtype))
    alike(fused.swiglu_down, gate, up, down, grad=grad)


def test_rotation(dtype: torch.dtype) -> None:
    """Queries as transformers lays them out, 6 heads of 24; angles for the whole batch."""
    x = random(2, 7, 6, 24, dtype=dtype).transpose(1, 2)
    cos, sin = random(1, 7, 24, dtype=dtype), random(1, 7, 24, dtype=dtype).flip(-1)
    alike(lambda x: fused.rotate(x, cos, sin), x, grad=random(2, 6, 7, 24, dtype=dtype))


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "chunked"])
@pytest.mark.parametrize("frozen", [(), (1,)], ids=["head trains", "head frozen"])
def test_head(dtype: torch.dtype, keep: bool, frozen: tuple[int, ...]) -> None:
    """A vocabulary of more than two reads of a row."""
    hidden, weight = random(33, 16, dtype=dtype), random(9001, 16, dtype=dtype)
    targets = torch.arange(33, device=DEVICE) * 272
    alike(
        lambda h, w: head.token_log_probs(h, w, None, targets, keep=keep),
        hidden,
        weight,
        grad=random(33),
        frozen=frozen,
    )
