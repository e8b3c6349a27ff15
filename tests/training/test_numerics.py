from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lidr import jsonl
from lidr.config import Precision
from lidr.training import numerics, train
from tests.training.conftest import MakeJob


def test_a_weight_is_cast_anew_for_each_step(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cast once in a step or for each of its micro-batches, it is the same training bit for bit."""
    results = []
    for cached in (True, False):
        monkeypatch.setattr(
            numerics._StepwiseAutocast,
            "autocast_context_manager",
            lambda self, cached=cached: torch.autocast("cpu", torch.bfloat16, cache_enabled=cached),
        )
        overrides = {"trainer.precision": "bf16", "training.token_budget": 100}
        job = make_job(tmp_path / str(cached), overrides)
        train(job)
        results.append(((job.output / "model.safetensors").read_bytes(), list(jsonl.read(job.metrics))))
    assert results[0] == results[1]


class Casts(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.ops.aten._to_copy.default and args[0].shape == (5, 4):
            self.count += 1
        return func(*args, **(kwargs or {}))


def test_a_weight_is_cast_once_in_a_step() -> None:
    linear, plugin = torch.nn.Linear(4, 5), numerics.plugin(Precision.BF16, torch.device("cpu"))
    casts = Casts()
    for step in (1, 2):
        with plugin.train_step_context(), casts:
            for _ in range(3):
                out = linear(torch.ones(2, 4))
        assert out.dtype is torch.bfloat16
        assert casts.count == step


def test_fp32_is_left_alone() -> None:
    with numerics.plugin(Precision.FP32, torch.device("cpu")).train_step_context():
        assert torch.nn.Linear(4, 5)(torch.ones(2, 4)).dtype is torch.float32
