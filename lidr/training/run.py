"""One iteration's training, M_t to M_{t+1}, from its pairs to its model folder."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lidr import jsonl, progress
from lidr.chat import ChatFormat
from lidr.config import Precision, Reference
from lidr.hashing import sha256
from lidr.models import check_vocabulary, load_tokenizer
from lidr.training import allocator, blocks, choices, fingerprint, fusing, policy, reference, resume, support
from lidr.training.choices import Choices
from lidr.training.datamodule import PairData
from lidr.training.distributed import build_trainer
from lidr.training.job import TrainingJob, TrainingSummary
from lidr.training.memory import budget_named
from lidr.training.module import GATE_TOLERANCE, Plan, PreferenceModule
from lidr.training.quiet import contained
from lidr.training.ranks import Ranks
from lidr.training.reference import ReferenceLogProbs
from lidr.training.sharding import is_sharding, shard
from lidr.training.situation import Situation

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
    if job.device.type == "cpu":
        allocator.keep_freed_memory()
    else:
        allocator.grow_segments()
    with contained(), ExitStack() as patches:
        precision = choices.precision_of(job.config, job.device)
        trainer = build_trainer(job.config.trainer, precision, job.device, job.folder)
        ranks = Ranks(trainer.strategy)
        tokenizer = load_tokenizer(job.policy, job.revision(job.policy))
        chat = ChatFormat(tokenizer, job.config.model.system_prompt)
        data = PairData(job.config, job.pairs, chat, job.build_pairs)
        ranks.decide(data.prepare_data)
        data.setup("fit")
        attempt = _Attempt(job, data, trainer, ranks, precision, patches)
        done = attempt.fit()
        attempt.save(tokenizer)
    losses = ranks.decide(lambda: [record["train/loss"] for record in jsonl.read(job.metrics)])
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
    """One attempt at a job: models are loaded one after the other, never two at once.

    Of several ranks each makes an attempt, all together; the first writes the files.
    """

    policy: PreTrainedModel
    choices: Choices

    def __init__(
        self,
        job: TrainingJob,
        data: PairData,
        trainer: pl.Trainer,
        ranks: Ranks,
        precision: Precision,
        patches: ExitStack,
    ) -> None:
        self.job, self.data, self.patches = job, data, patches
        self.trainer, self.ranks, self.precision = trainer, ranks, precision
        self.keys = ranks.decide(lambda: _keys(job, precision))
        self.reference_seconds = 0.0
        log_probs = ranks.decide(self._cached_reference)
        device = torch.device("cpu") if is_sharding(trainer) else job.device
        if log_probs is None and job.config.objective.name.needs_reference and not job.own_reference:
            frozen = policy.load_reference(job, job.reference, precision, device)
            log_probs = self._compute_reference(shard(self._fused(frozen), trainer))
            del frozen
            _free()
        loaded = policy.load_policy(job, precision, device)
        check_vocabulary(loaded, data.chat.tokenizer, job.policy)
        self.policy = shard(self._fused(loaded), trainer)
        if log_probs is None and job.config.objective.name.needs_reference:
            log_probs = self._compute_reference(self.policy)
        self.log_probs = log_probs
        self._settle(self.policy)

    def _fused(self, model: PreTrainedModel) -> PreTrainedModel:
        """With cheaper norms, activations and rotary embeddings, where blocks are not compiled."""
        if not self.job.config.training.compile:
            fusing.fuse(model)
            self.patches.enter_context(fusing.fused_rotary(model))
        return model

    def fit(self) -> int:
        """Trains the policy in place; returns the steps an earlier attempt had done."""
        job, config, steps = self.job, self.job.config, len(self.data.steps)
        done = self.ranks.decide(lambda: resume.take_up(job.checkpoint, job.metrics, self.keys.training))
        gated = job.own_reference or config.reference is Reference.PREVIOUS
        plan = Plan(
            iteration=job.iteration,
            steps=steps,
            key=self.keys.training,
            gate=GATE_TOLERANCE[self.precision] if gated else None,
            token_budget=self.choices.token_budget,
            keep_logits=self.choices.keep_logits,
            keep_weights=self.choices.keep_weights,
            reference_file=str(job.cached_reference),
        )
        blocks.prepare(
            self.policy, checkpointing=self.choices.checkpointing, compiled=config.training.compile
        )
        module = PreferenceModule(
            self.policy,
            self.data.tokens.pairs,
            self.log_probs,
            config.objective,
            config.training,
            plan,
            self.ranks,
        )
        with self._step_log(steps, done) as callbacks:
            callbacks.append(resume.LastCheckpoint(job.checkpoint, config.training.checkpoint_steps, steps))
            self.trainer.callbacks += callbacks  # type: ignore[attr-defined]
            ckpt_path = job.checkpoint if done else None
            self.trainer.fit(module, datamodule=self.data, ckpt_path=ckpt_path, weights_only=True)
        return done

    def save(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Writes the model folder. The checkpoint stays until the training is marked as done."""
        model = self.policy
        if is_sharding(self.trainer):
            model = policy.unsharded(self.job, model, self.precision, self.ranks)
        if self.ranks.first:
            policy.save_policy(self.job, model, tokenizer)

    @contextmanager
    def _step_log(self, steps: int, done: int) -> Iterator[list[pl.Callback]]:
        """The first rank's record of the steps; on others nothing."""
        if not self.ranks.first:
            yield []
            return
        with (
            jsonl.Appender(self.job.metrics) as records,
            jsonl.Appender(self.job.times) as times,
            progress.bar(f"iteration-{self.job.iteration}/training", steps, done) as advance,
        ):
            yield [resume.StepLog(records, times, advance)]

    def _cached_reference(self) -> ReferenceLogProbs | None:
        if not self.job.config.objective.name.needs_reference:
            return None
        return reference.load(self.job.cached_reference, self.keys.reference)

    def _compute_reference(self, model: PreTrainedModel) -> ReferenceLogProbs:
        job, data = self.job, self.data
        self._settle(model)
        started = time.perf_counter()
        # The trainer decides the precision, and that only deterministic kernels are chosen.
        context = self.trainer.precision_plugin.forward_context()
        pairs = len(data.tokens.pairs)
        own = len(data.tokens.pairs) // self.ranks.count
        with (
            progress.bar(f"iteration-{job.iteration}/training reference", own) as advance,
            budget_named(job.config.training, self.choices.token_budget, data.tokens.longest),
        ):
            batches = data.first_epoch()
            log_probs = reference.compute(
                model,
                batches,
                pairs,
                job.device,
                context,
                advance,
                self.ranks,
                keep_logits=self.choices.keep_logits,
            )
        if self.ranks.first:
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
            self.choices = choices.settle(model, situation, self.job.choices, self.ranks)
            made = self.choices
            data.arrange(made.layout, made.token_budget, ahead=made.ahead, ranks=self.ranks)
        support.use_layout(model, self.choices.layout)


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
