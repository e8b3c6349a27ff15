"""Memory that runs out: what is said, and that the run goes on with less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lidr import jsonl
from lidr.config import identity
from lidr.errors import LidrError
from lidr.training import module, reference, train
from lidr.training.logprobs import response_log_probs
from lidr.training.memory import budget_named
from tests.training.conftest import MakeConfig, MakeJob

ON_CPU = (
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
)
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError(ON_CPU),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    MemoryError(),
]


def failing(error: BaseException, call: int) -> Callable[..., Any]:
    """`response_log_probs` that raises at its n-th call."""
    calls = []

    def log_probs(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise error
        return response_log_probs(*args, **options)

    return log_probs


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_running_out_of_memory_names_the_budget(make_config: MakeConfig, error: Exception) -> None:
    training = make_config({"training.token_budget": 4096}).training
    with pytest.raises(LidrError) as raised, budget_named(training, training.token_budget, 700):
        raise error
    assert str(raised.value) == (
        "training.token_budget: memory ran out with training.token_budget=4096"
        " (the longest sequence has 700 tokens) -> type training.token_budget=2048;"
        " the run goes on from its last checkpoint"
    )
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    ("budget", "checkpointing", "instead"),
    [
        (1500, "auto", "type training.token_budget=750;"),
        (1000, "always", "type training.token_budget=700;"),
        (700, "auto", "type training.checkpointing=always;"),
        (600, "never", "type training.checkpointing=always;"),
        (600, "always", "type a smaller training.max_length, lora=r16, or trainer=fsdp"),
    ],
)
def test_the_next_thing_to_try(
    make_config: MakeConfig, budget: int, checkpointing: str, instead: str
) -> None:
    """A budget below the longest sequence, 700 tokens here, would change nothing."""
    overrides = {"training.token_budget": budget, "training.checkpointing": checkpointing}
    with pytest.raises(LidrError) as raised, budget_named(make_config(overrides).training, budget, 700):
        raise MemoryError
    assert str(raised.value).partition("-> ")[2].startswith(instead)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), KeyError("x"), LidrError("no")]
)
def test_other_errors_pass_unchanged(make_config: MakeConfig, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, budget_named(make_config().training, 1000, 700):
        raise error
    assert raised.value is error
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("error", OUT_OF_MEMORY[:2], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("overrides", [{}, {"lora.rank": 2}], ids=["full", "lora"])
def test_the_same_run_goes_on_with_a_smaller_budget(
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    overrides: dict[str, Any],
) -> None:
    """Out of memory in the fourth of six steps, after the checkpoint of the second."""
    whole = make_job(tmp_path / "whole", overrides)
    train(whole)
    job = make_job(tmp_path / "cut", overrides)
    with monkeypatch.context() as patch:
        patch.setattr(module, "response_log_probs", failing(error, 7))
        with pytest.raises(LidrError) as raised:
            train(job)
    assert f"type training.token_budget={job.config.training.token_budget // 2};" in str(raised.value)
    assert len(list(jsonl.read(job.metrics))) == 3
    assert not job.output.exists()
    smaller = make_job(tmp_path / "cut", overrides | {"training.token_budget": 80})
    assert identity(smaller.config) == identity(job.config)
    assert train(smaller).resumed_from == 2
    one, other = (list(jsonl.read(j.metrics)) for j in (whole, smaller))
    assert [r["train/loss"] for r in other] == pytest.approx([r["train/loss"] for r in one], rel=1e-4)


def test_the_reference_that_runs_out_of_memory_says_so_too(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "response_log_probs", failing(OUT_OF_MEMORY[0], 2))
    job = make_job(tmp_path)
    with pytest.raises(LidrError, match=r"memory ran out .* -> type training\.token_budget=80;"):
        train(job)
    assert not job.cached_reference.exists()


def test_a_fault_of_the_model_is_no_lack_of_memory(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "response_log_probs", failing(RuntimeError("shapes differ"), 2))
    with pytest.raises(RuntimeError, match=r"^shapes differ$"):
        train(make_job(tmp_path))
