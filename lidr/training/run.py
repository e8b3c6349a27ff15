"""One iteration's training, M_t to M_{t+1}, from its pairs to its model folder."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl
import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lidr import jsonl, progress
from lidr.chat import ChatFormat
from lidr.config import Accelerator, Precision, Reference, RunConfig
from lidr.errors import LidrError
from lidr.hashing import sha256
from lidr.models import is_adapter, load_model, load_tokenizer
from lidr.training import fingerprint, lora, reference, resume, saving
from lidr.training.datamodule import PairData
from lidr.training.module import GATE_TOLERANCE, Plan, PreferenceModule
from lidr.training.quiet import contained
from lidr.training.reference import ReferenceLogProbs

log = logging.getLogger(__name__)
TIMES = "timing.jsonl"

# bf16 is mixed, not pure: the weights that train stay fp32 and each operation runs in bf16. A pure bf16
# weight of 0.02 has neighbours 1.2e-4 away, and at a learning rate of 5e-7 every update would round off to
# nothing. Under LoRA the frozen base is bf16, the adapter fp32.
_LIGHTNING_PRECISION: dict[Precision, Any] = {Precision.FP32: "32-true", Precision.BF16: "bf16-mixed"}


@dataclass(frozen=True)
class TrainingJob:
    """What one iteration trains from and writes to.

    Attributes:
        iteration: t of the model M_t that comes out; 1 for the first.
        policy: folder or hub id of M_{t-1}.
        reference: folder or hub id of pi_ref; the same as `policy` for reference=previous.
        pairs: pairs.jsonl.
        build_pairs: the pair stage, called before `pairs` is read; None where it is there.
        output: the model folder that is written, whole or not at all.
        folder: metrics.jsonl, timing.jsonl, reference.safetensors, and last.ckpt while running.
    """

    config: RunConfig
    iteration: int
    policy: str
    reference: str
    pairs: Path
    build_pairs: Callable[[], object] | None
    output: Path
    folder: Path

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.ckpt"

    @property
    def cached_reference(self) -> Path:
        return self.folder / "reference.safetensors"

    @property
    def own_reference(self) -> bool:
        """Whether the reference is the policy as it starts."""
        return self.reference == self.policy

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if self.config.trainer.accelerator is Accelerator.CUDA else "cpu")


@dataclass(frozen=True)
class TrainingSummary:
    """What came of a training, in plain values.

    tokens: real tokens through the model's body over all epochs, without padding and the reference's pass.
    truncated, dropped: pairs cut to training.max_length, and pairs left out for it.
    resumed_from: optimizer steps an earlier, killed attempt had done.
    seconds, reference_seconds: of this attempt, in whole and for the reference log-probs.
    """

    pairs: int
    steps: int
    tokens: int
    truncated: int
    dropped: int
    first_loss: float
    final_loss: float
    resumed_from: int
    seconds: float
    reference_seconds: float

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)


class Keys(NamedTuple):
    """What the cached reference and the checkpoint were made from."""

    reference: str
    training: str


def train(job: TrainingJob) -> TrainingSummary:
    """Trains one iteration; the same call after a kill goes on from the last checkpoint.

    A resumed training ends in the same model and the same metrics.jsonl, bit for bit (fp32, one thread), as
    one that was never interrupted.

    Raises:
        LidrError: there are no pairs; policy and reference disagree at the start; a loss is not finite; a
            checkpoint is of another training; or the configuration asks for what this machine or this version
            lacks.
    """
    started = time.perf_counter()
    check(job)
    torch.set_num_threads(job.config.trainer.threads)
    job.folder.mkdir(parents=True, exist_ok=True)
    with contained():
        tokenizer = load_tokenizer(job.policy, _revision(job, job.policy))
        data = PairData(
            job.config, job.pairs, ChatFormat(tokenizer, job.config.model.system_prompt), job.build_pairs
        )
        data.prepare_data()
        data.setup("fit")
        keys = _keys(job)
        policy, log_probs, reference_seconds = _policy_and_reference(job, data, keys.reference)
        done = _fit(job, data, policy, log_probs, keys.training)
    _save(job, policy, tokenizer)
    job.checkpoint.unlink(missing_ok=True)
    losses = [record["train/loss"] for record in jsonl.read(job.metrics)]
    return TrainingSummary(
        pairs=len(data.tokens.pairs),
        steps=len(data.steps),
        tokens=data.total_tokens,
        truncated=data.tokens.truncated,
        dropped=data.tokens.dropped,
        first_loss=losses[0],
        final_loss=losses[-1],
        resumed_from=done,
        seconds=round(time.perf_counter() - started, 3),
        reference_seconds=round(reference_seconds, 3),
    )


def check(job: TrainingJob) -> None:
    """Raises a LidrError for what cannot be trained here."""
    config = job.config
    if config.trainer.accelerator is Accelerator.CUDA and not torch.cuda.is_available():
        raise LidrError("there is no CUDA device", where="trainer.accelerator", instead="type trainer=cpu")
    if is_adapter(job.policy) and not config.lora.enabled:
        raise LidrError(
            "full training cannot go on from a LoRA adapter",
            where=f"lora, model {job.policy!r}",
            instead="type lora=r16, or give the merged model",
        )


def _policy_and_reference(
    job: TrainingJob, data: PairData, key: str
) -> tuple[PreTrainedModel, ReferenceLogProbs | None, float]:
    """The policy as it starts, and the log-probs of its reference; never two models in memory at once."""
    if not job.config.objective.name.is_preference:
        return _load_policy(job), None, 0.0
    log_probs = reference.load(job.cached_reference, key)
    if log_probs is not None:
        return _load_policy(job), log_probs, 0.0
    started = time.perf_counter()
    if not job.own_reference:
        log_probs = _reference_log_probs(job, data, _load(job, job.reference))
        _free()
    policy = _load_policy(job)
    if log_probs is None:
        log_probs = _reference_log_probs(job, data, policy)
    reference.save(job.cached_reference, log_probs, key)
    return policy, log_probs, time.perf_counter() - started


def _reference_log_probs(job: TrainingJob, data: PairData, model: PreTrainedModel) -> ReferenceLogProbs:
    pairs = len(data.tokens.pairs)
    # The trainer decides the precision, and that only deterministic kernels are chosen.
    numerics = _trainer(job, []).precision_plugin.forward_context()
    with progress.bar(f"iteration-{job.iteration}/training reference", pairs) as advance:
        return reference.compute(model, data.first_epoch(), pairs, job.device, numerics, advance)


def _fit(
    job: TrainingJob, data: PairData, policy: PreTrainedModel, log_probs: ReferenceLogProbs | None, key: str
) -> int:
    """Trains `policy` in place; returns the steps an earlier attempt had done."""
    steps, config = len(data.steps), job.config
    done = resume.resumable_step(job.checkpoint, job.metrics, key)
    resume.keep_records(job.metrics, done)
    gated = job.own_reference or config.reference is Reference.PREVIOUS
    gate = GATE_TOLERANCE[config.trainer.precision] if gated else None
    plan = Plan(job.iteration, steps, key, gate, str(job.cached_reference))
    module = PreferenceModule(policy, data.tokens.pairs, log_probs, config.objective, config.training, plan)
    title = f"iteration-{job.iteration}/training"
    with (
        jsonl.Appender(job.metrics) as records,
        jsonl.Appender(job.folder / TIMES) as times,
        progress.bar(title, steps, done) as advance,
    ):
        callbacks = [
            resume.StepLog(records, times, advance),
            resume.LastCheckpoint(job.checkpoint, config.training.checkpoint_steps, steps),
        ]
        ckpt_path = job.checkpoint if done else None
        _trainer(job, callbacks).fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return done


def _trainer(job: TrainingJob, callbacks: list[pl.Callback]) -> pl.Trainer:
    return pl.Trainer(
        accelerator=job.config.trainer.accelerator.value,
        devices=1,
        precision=_LIGHTNING_PRECISION[job.config.trainer.precision],
        max_epochs=1,
        deterministic=True,
        callbacks=callbacks,
        default_root_dir=job.folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _load_policy(job: TrainingJob) -> PreTrainedModel:
    model, config = _load(job, job.policy), job.config
    if is_adapter(job.policy):
        return cast("PreTrainedModel", lora.go_on(model))
    if config.lora.enabled:
        revision, seed = _revision(job, job.policy), config.seed + job.iteration
        return cast("PreTrainedModel", lora.fresh(model, config.lora, job.policy, revision, seed))
    return model


def _load(job: TrainingJob, path: str) -> PreTrainedModel:
    """A model in the precision of its weights while training: fp32 where they train, else the trainer's."""
    precision = job.config.trainer.precision if job.config.lora.enabled else Precision.FP32
    return load_model(path, precision, job.device, _revision(job, path))


def _save(job: TrainingJob, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    if job.config.lora.enabled:
        adapted = cast("PeftModel", policy)
        lora.save_adapter(adapted, tokenizer, job.output, policy=job.policy, iteration=job.iteration)
    else:
        saving.save_full(policy, tokenizer, job.output)


def _keys(job: TrainingJob) -> Keys:
    """Hashes the files of pairs and models once."""
    reference = policy = fingerprint.model_fingerprint(job.policy, _revision(job, job.policy))
    if not job.own_reference:
        reference = fingerprint.model_fingerprint(job.reference, _revision(job, job.reference))
    pairs = sha256(job.pairs)
    return Keys(
        reference=fingerprint.reference_key(job.config, pairs, reference, policy),
        training=fingerprint.training_key(job.config, pairs, reference, policy, job.iteration),
    )


def _revision(job: TrainingJob, path: str) -> str | None:
    """The configured revision belongs to M_0 alone."""
    return job.config.model.revision if path == job.config.model.path else None


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
