"""One iteration's training, M_t to M_{t+1}, from its pairs to its model folder."""

from __future__ import annotations

import gc
import logging
import time
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from transformers import PreTrainedModel

from lidr import jsonl, progress
from lidr.chat import ChatFormat
from lidr.config import Precision, Reference
from lidr.hashing import sha256
from lidr.models import load_tokenizer
from lidr.training import blocks, choices, fingerprint, numerics, policy, reference, resume, support
from lidr.training.choices import Choices, Situation
from lidr.training.datamodule import PairData
from lidr.training.job import TrainingJob, TrainingSummary
from lidr.training.memory import budget_named
from lidr.training.module import GATE_TOLERANCE, Plan, PreferenceModule
from lidr.training.quiet import contained
from lidr.training.reference import ReferenceLogProbs

log = logging.getLogger(__name__)


class Keys(NamedTuple):
    """What the cached reference and the checkpoint were made from."""

    reference: str
    training: str


def train(job: TrainingJob) -> TrainingSummary:
    """Trains one iteration; the same call after a kill goes on from the last checkpoint.

    A resumed training ends in the same model and the same metrics.jsonl, bit for bit (fp32, one process), as
    one that was never interrupted.

    Raises:
        LidrError: there are no pairs; policy and reference disagree at the start; a loss is not finite; memory
            ran out; a checkpoint is of another training; or the configuration asks for what this machine or
            this version lacks.
    """
    started = time.perf_counter()
    job.check()
    job.folder.mkdir(parents=True, exist_ok=True)
    with contained():
        tokenizer = load_tokenizer(job.policy, job.revision(job.policy))
        chat = ChatFormat(tokenizer, job.config.model.system_prompt)
        data = PairData(job.config, job.pairs, chat, job.build_pairs)
        data.prepare_data()
        data.setup("fit")
        attempt = _Attempt(job, data)
        done = attempt.fit()
    policy.save_policy(job, attempt.policy, tokenizer)
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
        reference_seconds=round(attempt.reference_seconds, 3),
    )


class _Attempt:
    """One attempt at a job: models are loaded one after the other, never two at once."""

    policy: PreTrainedModel
    choices: Choices

    def __init__(self, job: TrainingJob, data: PairData) -> None:
        self.job, self.data = job, data
        self.precision = choices.precision_of(job.config, job.device)
        self.keys = _keys(job, self.precision)
        self.reference_seconds = 0.0
        log_probs = self._cached_reference()
        if log_probs is None and job.config.objective.name.needs_reference and not job.own_reference:
            log_probs = self._compute_reference(policy.load_reference(job, job.reference, self.precision))
            _free()
        self.policy = policy.load_policy(job, self.precision)
        if log_probs is None and job.config.objective.name.needs_reference:
            log_probs = self._compute_reference(self.policy)
        self.log_probs = log_probs
        self._settle(self.policy)

    def fit(self) -> int:
        """Trains the policy in place; returns the steps an earlier attempt had done."""
        job, config, steps = self.job, self.job.config, len(self.data.steps)
        done = resume.resumable_step(job.checkpoint, job.metrics, self.keys.training)
        resume.keep_records(job.metrics, done)
        gated = job.own_reference or config.reference is Reference.PREVIOUS
        plan = Plan(
            iteration=job.iteration,
            steps=steps,
            key=self.keys.training,
            gate=GATE_TOLERANCE[self.precision] if gated else None,
            keep_logits=self.choices.keep_logits,
            reference_file=str(job.cached_reference),
        )
        blocks.prepare(
            self.policy, checkpointing=self.choices.checkpointing, compiled=config.training.compile
        )
        module = PreferenceModule(
            self.policy, self.data.tokens.pairs, self.log_probs, config.objective, config.training, plan
        )
        with (
            jsonl.Appender(job.metrics) as records,
            jsonl.Appender(job.times) as times,
            progress.bar(f"iteration-{job.iteration}/training", steps, done) as advance,
        ):
            callbacks = [
                resume.StepLog(records, times, advance),
                resume.LastCheckpoint(job.checkpoint, config.training.checkpoint_steps, steps),
            ]
            ckpt_path = job.checkpoint if done else None
            self._trainer(callbacks).fit(module, datamodule=self.data, ckpt_path=ckpt_path, weights_only=True)
        return done

    def _cached_reference(self) -> ReferenceLogProbs | None:
        if not self.job.config.objective.name.needs_reference:
            return None
        return reference.load(self.job.cached_reference, self.keys.reference)

    def _compute_reference(self, model: PreTrainedModel) -> ReferenceLogProbs:
        job, data = self.job, self.data
        self._settle(model)
        started = time.perf_counter()
        # The trainer decides the precision, and that only deterministic kernels are chosen.
        context = self._trainer([]).precision_plugin.forward_context()
        pairs = len(data.tokens.pairs)
        with (
            progress.bar(f"iteration-{job.iteration}/training reference", pairs) as advance,
            budget_named(job.config.training, data.tokens.longest),
        ):
            log_probs = reference.compute(model, data.first_epoch(), pairs, job.device, context, advance)
        reference.save(job.cached_reference, log_probs, self.keys.reference)
        self.reference_seconds = time.perf_counter() - started
        return log_probs

    def _settle(self, model: PreTrainedModel) -> None:
        """Makes the choices with the first model that is loaded, and readies each for them."""
        if not hasattr(self, "choices"):
            data = self.data
            situation = Situation(
                self.job.config,
                self.job.device,
                self.precision,
                data.tokens.pairs,
                data.steps,
                data.chat.pad_id,
            )
            self.choices = choices.settle(model, situation, self.job.choices)
            data.arrange(self.choices.layout)
        support.use_layout(model, self.choices.layout)

    def _trainer(self, callbacks: list[pl.Callback]) -> pl.Trainer:
        return pl.Trainer(
            accelerator=self.job.config.trainer.accelerator.value,
            devices=1,
            plugins=[numerics.plugin(self.precision, self.job.device)],
            max_epochs=1,
            deterministic=True,
            callbacks=callbacks,
            default_root_dir=self.job.folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )


def _keys(job: TrainingJob, precision: Precision) -> Keys:
    """Hashes the files of pairs and models once."""
    own = policy_print = fingerprint.model_fingerprint(job.policy, job.revision(job.policy))
    if not job.own_reference:
        own = fingerprint.model_fingerprint(job.reference, job.revision(job.reference))
    pairs = sha256(job.pairs)
    return Keys(
        reference=fingerprint.reference_key(job.config, pairs, own, policy_print, precision),
        training=fingerprint.training_key(job.config, pairs, own, policy_print, precision, job.iteration),
    )


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
