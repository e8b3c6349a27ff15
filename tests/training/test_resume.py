"""A training that was killed and started again equals one that was not, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from lidr import jsonl
from lidr.config import to_yaml
from lidr.errors import LidrError
from lidr.training import TrainingJob, resume, train
from lidr.training.module import PreferenceModule
from tests.training.conftest import MakeJob

STEPS = 6  # 11 pairs, 4 per step, 2 epochs; a checkpoint after steps 2 and 4
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora.rank": 2},
    "sft": {"objective.name": "sft"},
    # Each step in several micro-batches:
    "shared-lora": {"training.layout": "shared", "training.token_budget": 100, "lora.rank": 2},
    "sparing-bf16": {
        "training.layout": "packed",
        "training.token_budget": 100,
        "training.logits": "chunked",
        "training.checkpointing": "always",
        "trainer.precision": "bf16",
    },
}
EVERY_KILL = ("full", "lora", "sft")


class Killed(BaseException):
    pass


Kill = Callable[[pytest.MonkeyPatch], None]


def after_record(step: int) -> Kill:
    """Killed when the step's record is written and its checkpoint is not."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        _raise_after(monkeypatch, resume.StepLog, step)

    return patch


def after_checkpoint(step: int) -> Kill:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        _raise_after(monkeypatch, resume.LastCheckpoint, step)

    return patch


def while_checkpointing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed with half of the second checkpoint on disk: the first one stands."""

    def torn(trainer: Any, path: Path, weights_only: bool) -> None:
        real(trainer, path, weights_only=weights_only)
        if trainer.global_step == 4:
            path.write_bytes(path.read_bytes()[:1000])
            raise Killed

    real = resume.pl.Trainer.save_checkpoint
    monkeypatch.setattr(resume.pl.Trainer, "save_checkpoint", torn)


def while_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed with half a line written."""

    def torn(self: jsonl.Appender, records: list[dict[str, Any]]) -> None:
        real(self, records)
        if records[0]["step"] == 5:
            self._file.write(b'{"iteration": 1, "st')
            self._file.flush()
            raise Killed

    real = jsonl.Appender.append
    monkeypatch.setattr(jsonl.Appender, "append", torn)


def while_saving_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed with the weights written and the tokenizer not."""

    def torn(*args: Any, **options: Any) -> None:
        raise Killed

    monkeypatch.setattr(PreTrainedTokenizerBase, "save_pretrained", torn)


KILLS: dict[str, Kill] = {
    "in step 1": after_record(1),
    "before the first checkpoint": after_record(2),
    "after the first checkpoint": after_checkpoint(2),
    "between checkpoints": after_record(3),
    "after the last step": after_record(STEPS),
    "while checkpointing": while_checkpointing,
    "while recording": while_recording,
    "while saving the model": while_saving_the_model,
}


def _raise_after(monkeypatch: pytest.MonkeyPatch, callback: type, step: int) -> None:
    real = callback.on_train_batch_end  # type: ignore[attr-defined]

    def hook(self: Any, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        real(self, trainer, module, outputs, batch, batch_idx)
        if batch.step + 1 == step:
            raise Killed

    monkeypatch.setattr(callback, "on_train_batch_end", hook)


def result(job: TrainingJob) -> tuple[bytes, list[dict[str, Any]]]:
    """The model's bytes, and the step log without its clock."""
    (weights,) = job.output.glob("*.safetensors")
    records = list(jsonl.read(job.metrics))
    return weights.read_bytes(), records


@pytest.fixture(scope="module")
def uninterrupted(
    make_job: MakeJob, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[bytes, list[dict[str, Any]]]]:
    results = {}
    for name, overrides in VARIANTS.items():
        job = make_job(tmp_path_factory.mktemp(name), overrides)
        summary = train(job)
        assert summary.steps == STEPS
        results[name] = result(job)
    return results


@pytest.mark.parametrize(
    ("variant", "when"),
    [
        (variant, when)
        for variant in VARIANTS
        for when in KILLS
        if variant in EVERY_KILL or when in ("between checkpoints", "while checkpointing")
    ],
)
def test_resumed_equals_uninterrupted(
    make_job: MakeJob,
    tmp_path: Path,
    uninterrupted: dict[str, tuple[bytes, list[dict[str, Any]]]],
    variant: str,
    when: str,
) -> None:
    job = make_job(tmp_path, VARIANTS[variant])
    with pytest.MonkeyPatch.context() as monkeypatch:
        KILLS[when](monkeypatch)
        with pytest.raises(Killed):
            train(job)
    assert not job.output.exists(), "a model folder is there whole or not at all"
    train(job)
    assert result(job) == uninterrupted[variant]
    assert sorted(path.name for path in job.output.parent.iterdir()) == ["model", "training"]


def test_a_kill_before_the_manifest_costs_the_steps_since_the_last_checkpoint(
    make_job: MakeJob, tmp_path: Path, uninterrupted: dict[str, tuple[bytes, list[dict[str, Any]]]]
) -> None:
    """The model is written, the training not yet marked as done."""
    variant = next(iter(VARIANTS))
    job = make_job(tmp_path, VARIANTS[variant])
    steps = train(job).steps
    every = job.config.training.checkpoint_steps
    assert train(job).resumed_from == (steps - 1) // every * every > 0
    assert result(job) == uninterrupted[variant]


@pytest.mark.parametrize("variant", ["shared-lora", "sparing-bf16"])
def test_the_steps_have_several_micro_batches(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    counts = []
    step = PreferenceModule.training_step

    def spy(self: PreferenceModule, batch: Any, batch_idx: int) -> Any:
        counts.append(len(batch.micro_batches))
        assert all(m.segments is not None for m in batch.micro_batches)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PreferenceModule, "training_step", spy)
    train(make_job(tmp_path, VARIANTS[variant]))
    assert len(counts) == STEPS
    assert min(counts) >= 2


def test_a_checkpoint_is_gone_on_from(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(tmp_path)
    _kill(job, after_record(5))
    assert train(job).resumed_from == 4


def test_a_checkpoint_holds_only_tensors_and_primitives(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(tmp_path, VARIANTS["lora"])
    _kill(job, after_record(3))
    checkpoint = torch.load(job.checkpoint, weights_only=True)
    assert checkpoint["global_step"] == 2
    assert all("lora_" in name for name in checkpoint["state_dict"])


def test_a_checkpoint_of_another_training_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    _kill(make_job(tmp_path), after_record(3))
    other = make_job(tmp_path, {"objective.beta": 0.5})
    with pytest.raises(LidrError, match="trained from other pairs, models or settings"):
        train(other)


def test_where_and_how_often_do_not_make_another_training(make_job: MakeJob, tmp_path: Path) -> None:
    _kill(make_job(tmp_path), after_record(3))
    assert train(make_job(tmp_path, {"training.checkpoint_steps": 1})).resumed_from == 2


def test_the_reference_is_kept_over_a_kill_and_made_anew_for_other_pairs(
    make_job: MakeJob, tmp_path: Path, stranger: str
) -> None:
    job = make_job(tmp_path)
    train(job)
    written = job.cached_reference.stat().st_mtime_ns
    train(job)
    assert job.cached_reference.stat().st_mtime_ns == written
    job.checkpoint.unlink()  # as a finished stage does
    train(make_job(tmp_path, policy=stranger))
    assert job.cached_reference.stat().st_mtime_ns != written


def _kill(job: TrainingJob, kill: Kill) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        kill(monkeypatch)
        with pytest.raises(Killed):
            train(job)


SLOW_TRAINING = """
import sys, time
from pathlib import Path
from lidr.config import read_config
from lidr.training import TrainingJob, resume, train
from lidr.training.module import PreferenceModule

root, pairs, m_0 = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
real = resume.LastCheckpoint.on_train_batch_end

def slow(self, *args):
    real(self, *args)
    time.sleep(0.5)

resume.LastCheckpoint.on_train_batch_end = slow
config = read_config(root / "config.yaml")
train(TrainingJob(config, 1, m_0, m_0, pairs, None, root / "model", root / "training"))
"""


def test_kill_9(
    make_job: MakeJob,
    tmp_path: Path,
    pairs_file: Path,
    m_0: str,
    uninterrupted: dict[str, tuple[bytes, list[dict[str, Any]]]],
) -> None:
    job = make_job(tmp_path)
    (tmp_path / "config.yaml").write_text(to_yaml(job.config), encoding="utf-8")
    arguments = [sys.executable, "-c", SLOW_TRAINING, str(tmp_path), str(pairs_file), m_0]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if job.checkpoint.exists() and len(job.metrics.read_bytes().splitlines()) >= 3:
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert train(job).resumed_from in (2, 4)
    assert result(job) == uninterrupted["full"]
