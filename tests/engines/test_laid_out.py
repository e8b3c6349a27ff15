"""Weights laid out once compute what the layers themselves compute, row by row alike."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys

import pytest
import torch
from torch import nn

from lidr import machine
from lidr.engines.laid_out import LaidOut
from tests import tiny
from tests.engines.processors import LAID_OUT

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def layers(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(96, 200, bias=False), nn.SiLU(), nn.Linear(200, 64)).to(dtype)


@pytest.mark.parametrize("dtype", LAID_OUT)
@torch.inference_mode()
def test_the_same_results_and_afterwards_the_layers_own(dtype: torch.dtype) -> None:
    model = layers(dtype)
    rows = torch.randn(1, 24, 96).to(dtype)
    expected = model(rows)
    laid_out = LaidOut(model)
    for _ in range(2):
        with laid_out.used():
            assert all("forward" in vars(layer) for layer in (model[0], model[2]))
            found = model(rows)
        assert found.dtype == dtype
        assert (found - expected).abs().max() <= TOLERANCE[dtype] * expected.abs().max()
        assert not any("forward" in vars(module) for module in model.modules())
    assert torch.equal(model(rows), expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", LAID_OUT)
@torch.inference_mode()
def test_a_row_is_the_same_among_any_number_of_rows(dtype: torch.dtype, threads: int) -> None:
    """Passes are filled up to multiples of four rows a thread."""
    torch.set_num_threads(threads)
    model = layers(dtype)
    rows = torch.randn(1, 1024, 96).to(dtype)
    with LaidOut(model).used():
        expected = model(rows)
        for count in range(8, 300, 8):
            assert torch.equal(model(rows[:, :count].contiguous()), expected[:, :count])
    torch.set_num_threads(1)


def test_a_tied_weight_is_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    blocked = torch.ops.mkldnn._reorder_linear_weight
    monkeypatch.setattr("lidr.engines.product._blocked", lambda w: (made.append(w), blocked(w))[1])
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)).requires_grad_(False)
    model[1].weight = model[0].weight
    with LaidOut(model).used():
        assert len(made) == 1


def test_contexts_may_end_in_any_order() -> None:
    """As those of streams do that nobody reads to their end."""
    model = layers(torch.float32)
    laid_out = LaidOut(model)
    first, second = laid_out.used(), laid_out.used()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert not any("forward" in vars(module) for module in model.modules())


def test_where_memory_is_short_the_layers_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda _: 2**10)
    model = tiny.model()
    with caplog.at_level(logging.INFO), LaidOut(model).used():
        assert not any("forward" in vars(module) for module in model.modules())
    assert "is too much for" in caplog.text


@torch.inference_mode()
def test_layers_that_read_the_same_input_are_one_product() -> None:
    attention = tiny.model().model.layers[0].self_attn
    layers = [attention.q_proj, attention.k_proj, attention.v_proj]
    x, other = torch.randn(2, 8, 32)
    expected = [layer(x) for layer in layers]
    with LaidOut(attention).used():
        found = [layer(x) for layer in layers]
        backwards = [layer(x) for layer in reversed(layers)][::-1]
        layers[0](other)
        again = [layers[0](x), layers[0](x), layers[2](x)]
    for mine, theirs in zip([*found, *backwards], 2 * expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    assert torch.equal(again[0], again[1])
    torch.testing.assert_close(again[2], expected[2], rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="ONEDNN_MAX_CPU_ISA names x86 processors")
def test_a_processor_without_products_in_bf16_computes_with_the_layers_own() -> None:
    code = (
        "import torch; from torch import nn; from lidr.engines.laid_out import LaidOut;"
        "m = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).bfloat16().requires_grad_(False);"
        "x = torch.ones(8, 8).bfloat16(); u = LaidOut(m).used(); u.__enter__();"
        "print(m(x).shape, 'forward' in vars(m[0]))"
    )
    older = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], env=older, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "torch.Size([8, 8]) False\n"), done.stderr
