"""What fits into memory: the token budget, and what is kept for the backward rather than computed twice."""

from __future__ import annotations

import logging
from typing import NamedTuple

from transformers import PreTrainedModel

from lidr import attention_interface, machine
from lidr.config import Checkpointing, Layout, Logits
from lidr.training import cost
from lidr.training.batching import Batcher
from lidr.training.shapes import ModelShape, Settings
from lidr.training.sharding import local
from lidr.training.situation import Situation, settings_of

log = logging.getLogger(__name__)
_CPU_BUDGET = 2048  # tokens; enough for the matrix products to be as fast as they get
_GPU_BUDGETS = (16384, 8192, 4096, _CPU_BUDGET)
_CHECKPOINTING = {Checkpointing.ALWAYS: True, Checkpointing.NEVER: False}


class Fitted(NamedTuple):
    """How much goes through the model together, and what is kept of it; see `choices.Choices`."""

    token_budget: int
    ahead: int
    keep_logits: bool
    keep_weights: bool
    checkpointing: bool


def fitted(model: PreTrainedModel, situation: Situation, layout: Layout, reasons: list[str]) -> Fitted:
    """The fastest way that fits; adds a reason for each thing that was chosen."""
    batcher, fit = _batched(model, situation, layout, reasons)
    weights = _weights(model, situation, batcher, fit, reasons)
    chosen = situation.config.training.token_budget is None
    ahead = _ahead(model, situation, batcher, reasons) if chosen and weights and fit.keeps_logits else 0
    return Fitted(batcher.token_budget, ahead, fit.keeps_logits, weights, fit.checkpointing)


def _batched(
    model: PreTrainedModel, situation: Situation, layout: Layout, reasons: list[str]
) -> tuple[Batcher, cost.Choice]:
    """Micro-batches by the token budget, and what fits with it.

    A GPU is busy for longer with more tokens at once, and fp32 gradients are added up less often: there the largest
    budget is taken with which nothing need be computed twice.
    """
    training = situation.config.training
    asked, on_gpu = training.token_budget, situation.device.type == "cuda"
    budgets = (asked,) if asked is not None else _GPU_BUDGETS if on_gpu else (_CPU_BUDGET,)
    for budget in budgets:
        batcher = Batcher(situation.pairs, situation.pad_id, layout, budget)
        fit = _fit(model, situation, batcher)
        fastest = (fit.keeps_logits or training.logits is Logits.CHUNKED) and (
            not fit.checkpointing or training.checkpointing is Checkpointing.ALWAYS
        )
        if fit.fits and fastest:
            break
    if len(budgets) > 1:
        reasons.append(f"token budget {budget}")
    if Logits.AUTO is training.logits or Checkpointing.AUTO is training.checkpointing:
        reasons.append(fit.reason)
    if not fit.fits:
        log.warning("%s: lower training.token_budget=%d", fit.reason, budget)
    return batcher, fit


def _fit(model: PreTrainedModel, situation: Situation, batcher: Batcher) -> cost.Choice:
    """Whether logits are kept and blocks checkpointed, for the largest micro-batch of the plan."""
    training = situation.config.training
    tokens, completions = _largest(situation, batcher)
    shape, settings = _counted(model, situation)
    return cost.choose(
        shape,
        settings,
        tokens,
        completions,
        machine.available_memory(situation.device),
        resident_bytes=sum(local(p).numel() * p.element_size() for p in model.parameters()),
        logits=None if training.logits is Logits.AUTO else training.logits,
        checkpointing=_CHECKPOINTING.get(training.checkpointing),
    )


def _weights(
    model: PreTrainedModel, situation: Situation, batcher: Batcher, fit: cost.Choice, reasons: list[str]
) -> bool:
    """Whether packed attention on a CPU keeps its weights for the backward, in the memory that is left."""
    shape, settings = _counted(model, situation)
    packed = batcher.layout is not Layout.PADDED and situation.device.type == "cpu"
    if shape is None or not packed or fit.checkpointing:
        return False
    needed = max(
        cost.softmax_bytes(shape, settings, batcher.tokens(part), batcher.attended(part))
        for part in _parts(situation, batcher)
    )
    kept = fit.fits and needed <= fit.spare
    reasons.append(
        f"attention's weights {'kept' if kept else 'computed twice'}: {needed / machine.GIB:.2f} GiB"
        f" {'fit' if kept else 'do not fit'} into the {fit.spare / machine.GIB:.2f} GiB that are left"
    )
    return kept


def _ahead(model: PreTrainedModel, situation: Situation, batcher: Batcher, reasons: list[str]) -> int:
    """What a step's first micro-batch may have beyond the token budget; nothing where ranks have it together.

    A pass costs time of its own: weights are laid out for the products, and gradients added up.
    """
    shape, settings = _counted(model, situation)
    if shape is None or settings.devices > 1:
        return 0
    parts = _parts(situation, batcher)
    attended = round(sum(map(batcher.attended, parts)) / sum(map(batcher.tokens, parts)))
    ahead = min(batcher.token_budget, cost.ahead(shape, settings, attended))
    if ahead:
        longest = batcher.token_budget + ahead
        reasons.append(f"a step's first micro-batch up to {longest} tokens: there are no gradients yet")
    return ahead


def _counted(model: PreTrainedModel, situation: Situation) -> tuple[ModelShape | None, Settings]:
    """The model and its training, as memory and operations are counted; no shape where the model has none."""
    config = attention_interface.base_model(model).config
    return ModelShape.of(config), settings_of(situation.config, situation.precision, situation.device)


def _largest(situation: Situation, batcher: Batcher) -> tuple[int, int]:
    """Most tokens, padding included, and most predicted tokens of a micro-batch."""
    parts = _parts(situation, batcher)
    predicted = [
        sum(len(situation.pairs[i].chosen) + len(situation.pairs[i].rejected or ()) for i in part)
        for part in parts
    ]
    return max(map(batcher.tokens, parts)), max(predicted)


def _parts(situation: Situation, batcher: Batcher) -> list[list[int]]:
    """The pairs of every micro-batch of the plan."""
    return [part for step in situation.steps for part in batcher.divide(step.pairs)]
