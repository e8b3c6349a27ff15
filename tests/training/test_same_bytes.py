"""What docs/determinism.md promises of training: how far two trainings of one configuration are the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lidr import jsonl
from lidr.training import TrainingJob, train
from tests.training.conftest import LORA, MakeJob

BF16 = {"trainer.precision": "bf16"}


@pytest.fixture(autouse=True)
def one_thread_afterwards() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def trained(make_job: MakeJob, root: Path, overrides: dict[str, Any], threads: int = 1) -> TrainingJob:
    job = make_job(root, {"training.epochs": 1, "trainer.threads": threads, **overrides})
    train(job)
    return job


def written(job: TrainingJob) -> dict[str, bytes]:
    """All but the clock's file."""
    files = [p for folder in (job.folder, job.output) for p in folder.iterdir()]
    return {p.name: p.read_bytes() for p in files if p not in (job.times, job.choices)}


@pytest.mark.parametrize(
    ("overrides", "threads"),
    [({}, 1), ({}, 2), (BF16, 1), (BF16 | LORA, 2)],
    ids=["fp32", "fp32, two threads", "bf16", "bf16 LoRA, two threads"],
)
def test_the_same_seed_and_threads_are_the_same_bytes(
    make_job: MakeJob, tmp_path: Path, overrides: dict[str, Any], threads: int
) -> None:
    first, second = (trained(make_job, tmp_path / name, overrides, threads) for name in ("a", "b"))
    assert written(first) == written(second)
    assert {"metrics.jsonl", "reference.safetensors"} < written(first).keys()


def test_another_seed_is_another_training(make_job: MakeJob, tmp_path: Path) -> None:
    first, second = (trained(make_job, tmp_path / str(seed), {"seed": seed}) for seed in (0, 1))
    assert written(first)["model.safetensors"] != written(second)["model.safetensors"]


@pytest.mark.parametrize(
    ("here", "there"),
    [(({}, 1), ({}, 2)), (({}, 1), ({"training.token_budget": 512, "training.layout": "padded"}, 1))],
    ids=["threads", "batches"],
)
def test_other_threads_or_batches_are_the_same_up_to_rounding(
    make_job: MakeJob, tmp_path: Path, here: tuple[dict[str, Any], int], there: tuple[dict[str, Any], int]
) -> None:
    """fp32: losses to 1e-4 of themselves, and weights to a hundredth of what a step may move them."""
    first, second = (trained(make_job, tmp_path / str(i), *given) for i, given in enumerate((here, there)))
    losses = [[record["train/loss"] for record in jsonl.read(job.metrics)] for job in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    ours, theirs = (load_file(job.output / "model.safetensors") for job in (first, second))
    step = first.config.training.lr
    for name, tensor in ours.items():
        apart = (tensor - theirs[name]).abs()
        assert apart.median() <= step / 100, name
