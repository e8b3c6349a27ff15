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
from tests.training.conftest import LORA, MakeJob, pair_records, write_records

BF16 = {"trainer.precision": "bf16"}


@pytest.fixture(autouse=True)
def one_thread_afterwards() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def trained(
    make_job: MakeJob, root: Path, overrides: dict[str, Any], threads: int = 1, **fields: Any
) -> TrainingJob:
    job = make_job(root, {"training.epochs": 1, "trainer.threads": threads, **overrides}, **fields)
    train(job)
    return job


def written(job: TrainingJob) -> dict[str, bytes]:
    """All but the clock's file."""
    files = [p for folder in (job.folder, job.output) for p in folder.iterdir()]
    return {p.name: p.read_bytes() for p in files if p not in (job.times, job.choices)}


@pytest.mark.parametrize("overrides", [{}, BF16, BF16 | LORA], ids=["fp32", "bf16", "bf16 LoRA"])
def test_the_same_seed_is_the_same_bytes(
    make_job: MakeJob, tmp_path: Path, overrides: dict[str, Any]
) -> None:
    first, second = (trained(make_job, tmp_path / name, overrides) for name in ("a", "b"))
    assert written(first) == written(second)
    assert {"metrics.jsonl", "reference.safetensors"} < written(first).keys()


def test_two_threads_are_the_same_bytes_again_and_those_of_one_up_to_rounding(
    make_job: MakeJob, tmp_path: Path
) -> None:
    few = write_records(
        tmp_path / "pairs.jsonl", pair_records(4)
    )  # one step: threads that share a core are slow
    one, two, again = (
        trained(make_job, tmp_path / str(i), {}, threads, pairs=few) for i, threads in enumerate((1, 2, 2))
    )
    assert written(two) == written(again)
    assert_same_up_to_rounding(one, two)


def test_other_batches_are_the_same_up_to_rounding(make_job: MakeJob, tmp_path: Path) -> None:
    other = {"training.token_budget": 512, "training.layout": "padded"}
    first, second = (trained(make_job, tmp_path / str(i), given) for i, given in enumerate(({}, other)))
    assert_same_up_to_rounding(first, second)


def test_another_seed_is_another_training(make_job: MakeJob, tmp_path: Path) -> None:
    first, second = (trained(make_job, tmp_path / str(seed), {"seed": seed}) for seed in (0, 1))
    assert written(first)["model.safetensors"] != written(second)["model.safetensors"]


def assert_same_up_to_rounding(first: TrainingJob, second: TrainingJob) -> None:
    """fp32: losses to 1e-4 of themselves, and weights to a hundredth of what a step may move them."""
    losses = [[record["train/loss"] for record in jsonl.read(job.metrics)] for job in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    ours, theirs = (load_file(job.output / "model.safetensors") for job in (first, second))
    step = first.config.training.lr
    for name, tensor in ours.items():
        assert (tensor - theirs[name]).abs().median() <= step / 100, name
