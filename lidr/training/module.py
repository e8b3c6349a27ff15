"""The LightningModule: one batch is one optimizer step, so that accumulation is exact and a checkpoint
always falls between two optimizer steps.

Dropout is off throughout: the policy stays in evaluation mode (`eval()`), which covers the model's own
dropout and LoRA's. Policy and reference could not share their numerics otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from lidr.config import FirstLoss, ObjectiveConfig, Precision, TrainingConfig
from lidr.errors import LidrError
from lidr.training import fusing, optimizer_state
from lidr.training import objective as o
from lidr.training.batching import StepBatch
from lidr.training.distributed import share_terms
from lidr.training.logprobs import response_log_probs
from lidr.training.memory import budget_named
from lidr.training.metrics import Groups, StepMeans
from lidr.training.microbatch import MicroBatch
from lidr.training.pairs import TokenPair
from lidr.training.ranks import ALONE, Ranks
from lidr.training.reference import ReferenceLogProbs
from lidr.training.schedule import lr_factor
from lidr.training.sharding import is_sharding, whole

GATE_TOLERANCE = {Precision.FP32: 1e-4, Precision.BF16: 1e-3}
CHECKPOINT_ENTRY = "lidr"
_NAMED_IN_ERRORS = 16


@dataclass(frozen=True)
class Plan:
    """What the module must know of its iteration besides the batches.

    Attributes:
        iteration: t of the model M_t that is trained.
        steps: optimizer steps of the iteration.
        key: what the training is made from; a checkpoint of another is not resumed.
        gate: largest distance of the first step's preference term from what it is where the reference is the
            policy, or None where the reference is not the policy as it starts.
        token_budget: of a micro-batch, for errors.
        keep_logits, keep_weights: those of attention, until the backward, rather than compute them again.
        reference_file: where the reference log-probs lie, for errors.
    """

    iteration: int
    steps: int
    key: str
    gate: float | None
    token_budget: int
    keep_logits: bool = True
    keep_weights: bool = False
    reference_file: str = "reference.safetensors"


class PreferenceModule(pl.LightningModule):
    """Trains the policy with a preference objective + NLL, or NLL alone.

    Args:
        policy: pi_theta; the parameters that require gradients are trained, and checkpointed.
        pairs: the pairs batches refer to by index.
        reference: log-probs under pi_ref; None for an objective that needs none.
        ranks: the processes that share every step.
    """

    logp_ref_w: Tensor | None
    logp_ref_l: Tensor | None

    def __init__(
        self,
        policy: nn.Module,
        pairs: Sequence[TokenPair],
        reference: ReferenceLogProbs | None,
        objective: ObjectiveConfig,
        training: TrainingConfig,
        plan: Plan,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.strict_loading = (
            False  # a checkpoint holds only what trains; on_load_checkpoint compares the names
        )
        self.policy = policy.eval()
        self.pairs, self.longest = pairs, max(pair.longest for pair in pairs)
        self.objective, self.training_config, self.plan = objective, training, plan
        self.ranks = ranks
        self.means = StepMeans(Groups(pairs), objective.name)
        self.register_buffer("logp_ref_w", reference.logp_w if reference else None, persistent=False)
        self.register_buffer("logp_ref_l", reference.logp_l if reference else None, persistent=False)

    def configure_model(self) -> None:
        """Lightning asks for it where a model is sharded; `sharding.shard` has done it."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; weight decay on matrices, not on norms and biases."""
        trained = [p for p in self.policy.parameters() if p.requires_grad]
        groups = [
            {
                "params": [p for p in trained if p.ndim >= 2],
                "weight_decay": self.training_config.weight_decay,
            },
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            [g for g in groups if g["params"]],
            lr=self.training_config.lr,
            betas=self.training_config.adam_betas,
            fused=True,
        )

    def training_step(self, batch: StepBatch, batch_idx: int) -> dict[str, Any]:
        """One optimizer step.

        Returns:
            {"record": the step's line of metrics.jsonl}.

        Raises:
            LidrError: memory ran out; the first step's preference term is not what it is where the reference is
                the policy, although it should be; or a loss or gradient is not finite. The optimizer has not
                stepped then.
        """
        optimizer = cast("torch.optim.Optimizer", self.optimizers())
        lr = self._set_lr(optimizer, batch.step)
        beta = o.beta_at(batch.step, self.plan.steps, self.objective)
        optimizer.zero_grad()
        with budget_named(self.training_config, self.plan.token_budget, self.longest):
            terms, pairs = self._passes(batch, beta)
        self._check_finite(batch.step, terms.loss, pairs)
        if batch.step == 0:
            self._check_gate(terms, beta)
        grad_norm = whole(clip_grad_norm_(self.policy.parameters(), self.training_config.max_grad_norm))
        self._check_finite(batch.step, grad_norm.expand(len(pairs)), pairs, "gradient norm")
        optimizer.step()
        self.means.update(terms, pairs)
        record = {"iteration": self.plan.iteration, "step": batch.step + 1, **self.means.record()}
        record |= {"train/grad_norm": grad_norm.item(), "train/lr": lr, "train/tokens": batch.tokens}
        if self.objective.beta_end is not None:
            record["train/beta"] = beta
        return {"record": record}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps only what trains, and says what it was trained from."""
        trained = set(self._optimized_names())
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trained}
        every = [name for name, _ in self.named_parameters()]
        names = every if is_sharding(self.trainer) else self._optimized_names()
        states = checkpoint["optimizer_states"]
        checkpoint["optimizer_states"] = [optimizer_state.named(state, names) for state in states]
        checkpoint[CHECKPOINT_ENTRY] = {"key": self.plan.key, "step": self.global_step}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        order = self._optimized_names()
        if set(checkpoint.get("state_dict", order)) != set(order):  # a sharded one is read before
            raise LidrError(
                "the checkpoint holds other parameters than the model trains", instead="delete last.ckpt"
            )
        states = checkpoint["optimizer_states"]
        checkpoint["optimizer_states"] = [optimizer_state.numbered(state, order) for state in states]

    def _optimized_names(self) -> list[str]:
        """In the optimizer's order: matrices, then vectors."""
        trained = {name: p for name, p in self.named_parameters() if p.requires_grad}
        return sorted(trained, key=lambda name: trained[name].ndim < 2)

    def _set_lr(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        training = self.training_config
        lr = training.lr * lr_factor(step, self.plan.steps, training.schedule, training.warmup_ratio)
        for group in optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _passes(self, batch: StepBatch, beta: float) -> tuple[o.Terms, Tensor]:
        """Gradients of the whole step; its terms, all ranks' together, and their pairs."""
        fusing.make_copies(self.policy)
        *earlier, last = batch.micro_batches
        with self.ranks.backward_apart():
            parts = [self._backward(part, batch.totals, beta) for part in earlier]
        terms = o.join([*parts, self._backward(last, batch.totals, beta)])
        pairs = torch.cat([micro_batch.pairs for micro_batch in batch.micro_batches])
        if self.ranks.count == 1:
            return terms, pairs
        return share_terms(terms, pairs, batch.pairs, self.ranks), batch.pairs

    def _backward(self, batch: MicroBatch, step: o.StepTotals, beta: float) -> o.Terms:
        """Adds a micro-batch's share to the gradients.

        Of several ranks DDP and FSDP take the mean of the gradients, and a step's gradient is their sum.
        """
        terms = self.terms(batch, step, beta)
        self.manual_backward(self.ranks.count * o.contribution(terms, step))
        return o.detach(terms)

    def terms(self, batch: MicroBatch, step: o.StepTotals, beta: float) -> o.Terms:
        """The objective's terms of a micro-batch's pairs, with their graph."""
        objective = self.objective
        plan = self.plan
        log_probs = response_log_probs(
            self.policy, batch, keep_logits=plan.keep_logits, keep_weights=plan.keep_weights
        )
        count = len(batch.pairs)  # 0 in a filler, which has sequences
        logp_w = log_probs[:count]
        nll = o.chosen_nll(logp_w, batch.chosen_lengths, step, objective.nll_norm)
        if not objective.name.is_preference:
            return o.sft_terms(nll, alpha=objective.alpha)
        pi_theta = o.PairLogProbs(logp_w, log_probs.chunk(2)[1][:count])
        lengths = o.PairLengths(*(lengths[:count] for lengths in batch.response_lengths.chunk(2)))
        return o.preference_terms(pi_theta, self._reference(batch.pairs), lengths, nll, objective, beta)

    def _reference(self, pairs: Tensor) -> o.PairLogProbs | None:
        if self.logp_ref_w is None or self.logp_ref_l is None:
            return None
        return o.PairLogProbs(self.logp_ref_w[pairs], self.logp_ref_l[pairs])

    def _check_gate(self, terms: o.Terms, beta: float) -> None:
        first = self.objective.name.first_loss(beta)
        if self.plan.gate is not None and first is not None and isinstance(terms, o.PreferenceTerms):
            check_gate(terms, first, self.plan.gate, self.plan.reference_file)

    def _check_finite(self, step: int, values: Tensor, pairs: Tensor, what: str = "loss") -> None:
        finite = values.isfinite()
        if finite.all():
            return
        bad = [self.pairs[i] for i in pairs[~finite].tolist()]
        named = ", ".join(f"{p.id} ({p.language})" for p in bad[:_NAMED_IN_ERRORS])
        more = f" and {len(bad) - _NAMED_IN_ERRORS} more" if len(bad) > _NAMED_IN_ERRORS else ""
        raise LidrError(
            f"the {what} is {values[~finite][0].item()} at optimizer step {step + 1}, pairs {named}{more}",
            where=f"iteration {self.plan.iteration}, training",
            instead="look at these pairs; else a smaller training.lr, or trainer.precision=fp32",
        )


def check_gate(terms: o.PreferenceTerms, first: FirstLoss, tolerance: float, reference_file: str) -> None:
    """Stops a training whose reference is not the policy as it starts.

    Raises:
        LidrError: the preference term is not `first`, or some margin is not 0. In DPO a margin of m moves a
            pair's loss by half of m, hence twice the tolerance. Where `first` is above 1 it is a share of it.
    """
    loss, margin = terms.preference.mean().item(), terms.margin.abs().max().item()
    if abs(loss - first.value) <= tolerance * max(1.0, first.value) and margin <= 2 * tolerance:
        return
    raise LidrError(
        f"the first step's preference term is {loss:.6f} and its largest margin {margin:.6f}, where policy and"
        f" reference are the same model and {first.formula} = {first.value:.6f} and 0 were expected"
        f" (within {tolerance:g})",
        where=reference_file,
        instead="the reference log-probs come from another model, another chat template or system prompt, or"
        " another precision: delete the file and start again",
    )
