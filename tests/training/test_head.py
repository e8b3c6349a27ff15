"""Log-probs straight from the head, against all log-probs of a plain log-softmax."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lidr.training import head
from lidr.training.head import token_log_probs

TOKENS, WIDTH, VOCABULARY = 23, 8, 50
TARGETS = torch.randint(VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(1))


def inputs(dtype: torch.dtype = torch.float32, scale: float = 1.0) -> list[Tensor]:
    """Hidden states, weight and bias of a head."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(TOKENS, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,)]
    return [(scale * torch.randn(s, generator=generator)).to(dtype).requires_grad_() for s in shapes]


@pytest.fixture(params=[1, 7, 1000], autouse=True)
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Of logits at a time."""
    for name in ("CHUNK_ELEMENTS", "_CACHED_ELEMENTS", "_SOFTMAX_ELEMENTS"):
        monkeypatch.setattr(head, name, request.param * VOCABULARY)
    return request.param


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "chunked"])
@pytest.mark.parametrize(
    "trained", [(0, 1, 2), (0, 1), (0,), (1,)], ids=["all", "no-bias", "frozen-head", "head-alone"]
)
@pytest.mark.parametrize("scale", [1.0, 30.0], ids=["", "large-logits"])
def test_values_and_gradients_are_those_of_a_log_softmax(
    keep: bool, trained: tuple[int, ...], scale: float
) -> None:
    given = inputs(scale=scale**0.5)
    hidden, weight, bias = (t if i in trained else t.detach() for i, t in enumerate(given))
    if 2 not in trained:
        bias = None
    slope = torch.linspace(-1, 2, TOKENS)
    ours = token_log_probs(hidden, weight, bias, TARGETS, keep=keep)
    exact = [t.detach().double().requires_grad_() for t in given]
    logits = exact[0] @ exact[1].T + (0 if bias is None else exact[2])
    theirs = logits.log_softmax(-1)[range(TOKENS), TARGETS]
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    wanted = [given[i] for i in trained]
    got = torch.autograd.grad(ours, wanted, slope)
    expected = torch.autograd.grad(theirs, [exact[i] for i in trained], slope.double())
    for a, b in zip(got, expected, strict=True):
        assert (a - b).abs().max() <= 3e-5 * b.abs().max()


class Largest(TorchDispatchMode):
    """Numbers of the largest tensor of logits that an operator gave; the turned weight is none."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor) and tensor.shape[1:] == (VOCABULARY,) and len(tensor) != WIDTH:
                self.numbers = max(self.numbers, tensor.numel())
        return result


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "chunked"])
def test_without_gradients_no_more_than_a_chunk_of_logits_exists(keep: bool, rows: int) -> None:
    """As in the reference's pass, also where the head is to be trained."""
    with torch.no_grad(), Largest() as largest:
        token_log_probs(*inputs(), TARGETS, keep=keep)
    assert 0 < largest.numbers <= min(rows, TOKENS) * VOCABULARY


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "chunked"])
@pytest.mark.parametrize("trained", [True, False], ids=["full", "frozen"])
def test_with_and_without_gradients_it_is_the_same_number(keep: bool, trained: bool) -> None:
    hidden, weight, bias = inputs()
    weight, bias = (t.requires_grad_(trained) for t in (weight, bias))
    with torch.no_grad():
        frozen = token_log_probs(hidden, weight, bias, TARGETS, keep=keep)
    assert torch.equal(token_log_probs(hidden, weight, bias, TARGETS, keep=keep), frozen)
