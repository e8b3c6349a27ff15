"""What training decides by itself: layout, precision, threads, logits, checkpointing; each with its reason.

Decided once per training and kept in choices.json, so that a resumed training computes the same bits.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from lidr import attention_interface, machine
from lidr.config import Checkpointing, Layout, Logits, Precision, RunConfig, Strategy, TrainerPrecision
from lidr.errors import LidrError
from lidr.files import write_text
from lidr.training import cost, microbatch, support
from lidr.training.batching import Batcher, Step
from lidr.training.logprobs import response_log_probs
from lidr.training.pairs import TokenPair
from lidr.training.ranks import ALONE, Ranks
from lidr.training.shapes import ModelShape, Settings
from lidr.training.sharding import local

log = logging.getLogger(__name__)
_WORTH = 0.95  # a larger number of threads must take less than this share of the time
_PROBES = 3
_CPU_BUDGET = 2048  # tokens; enough for the matrix products to be as fast as they get
_GPU_BUDGETS = (16384, 8192, 4096, _CPU_BUDGET)
_CHECKPOINTING = {Checkpointing.ALWAYS: True, Checkpointing.NEVER: False}


@dataclass(frozen=True)
class Choices:
    """How a training is computed; none of it changes the result but for rounding.

    reasons: one sentence for each thing that was chosen rather than configured.
    """

    asked: str
    layout: Layout
    token_budget: int
    threads: int
    keep_logits: bool
    keep_weights: bool
    checkpointing: bool
    reasons: tuple[str, ...]


def precision_of(config: RunConfig, device: torch.device) -> Precision:
    """The configured precision; auto is bf16 where the device has instructions for it."""
    if config.trainer.precision is not TrainerPrecision.AUTO:
        return Precision(config.trainer.precision.value)
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        abilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        native = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    log.info(
        "precision %s: this %s %s instructions for bf16",
        "bf16" if native else "fp32",
        "GPU" if device.type == "cuda" else "CPU",
        "has" if native else "has no",
    )
    return Precision.BF16 if native else Precision.FP32


@dataclass(frozen=True)
class Situation:
    """What the choices depend on."""

    config: RunConfig
    device: torch.device
    precision: Precision
    pairs: tuple[TokenPair, ...]
    steps: tuple[Step, ...]
    pad_id: int

    @property
    def asked(self) -> str:
        """What was asked for and where, as text: other choices are made for another."""
        training, trainer = self.config.training, self.config.trainer
        keys = ("layout", "token_budget", "logits", "checkpointing")
        values = [f"{key}={getattr(training, key)}" for key in keys]
        values += [f"threads={trainer.threads}", f"{trainer.strategy.value}={trainer.ranks}"]
        return " ".join([*values, self.device.type, self.precision.value])


def settle(model: PreTrainedModel, situation: Situation, path: Path, ranks: Ranks = ALONE) -> Choices:
    """The choices of this training: those made before, or made now and kept.

    Several ranks choose together, as a sharded model runs on all of them at once, and take what the first chose.
    Sets the number of threads.

    Raises:
        LidrError: a layout was asked for that the model does not support.
    """
    choices = ranks.same(_read(path, situation.asked) if ranks.first else None)
    if choices is None:
        choices = ranks.same(_choose(model, situation))
        if ranks.first:
            write_text(path, json.dumps(asdict(choices), indent=2) + "\n")
    for reason in choices.reasons:
        log.info("%s", reason)
    torch.set_num_threads(choices.threads)
    return choices


def _read(path: Path, asked: str) -> Choices | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        layout, reasons = Layout(values["layout"]), tuple(values["reasons"])
        choices = Choices(**{**values, "layout": layout, "reasons": reasons})
    except (OSError, ValueError, LookupError, TypeError):  # none, or torn, or of another version
        return None
    return choices if choices.asked == asked else None


def _choose(model: PreTrainedModel, situation: Situation) -> Choices:
    reasons: list[str] = []
    layout = _layout(model, situation, reasons)
    threads = _threads(model, situation, layout, reasons)
    batcher, fit = _batched(model, situation, layout, reasons)
    budget, kept = batcher.token_budget, fit.logits is Logits.KEPT
    weights = _weights(model, situation, batcher, fit, reasons)
    return Choices(situation.asked, layout, budget, threads, kept, weights, fit.checkpointing, tuple(reasons))


def _layout(model: PreTrainedModel, situation: Situation, reasons: list[str]) -> Layout:
    asked = situation.config.training.layout
    if asked is Layout.PADDED:
        return asked
    wanted = Layout.SHARED if asked is Layout.AUTO else asked
    longest = max(pair.longest for pair in situation.pairs)
    problem = attention_interface.obstacle(model, longest) or support.probe(
        model, situation.pairs, wanted, situation.device
    )
    if problem is None:
        return wanted
    if asked is not Layout.AUTO:
        raise LidrError(
            problem, where=f"training.layout={asked.value}", instead="type training.layout=padded"
        )
    reasons.append(f"layout padded: {problem}")
    return Layout.PADDED


@torch.no_grad()
def _threads(model: nn.Module, situation: Situation, layout: Layout, reasons: list[str]) -> int:
    """The fewest threads that are as fast as any, by a forward over the pair of median length."""
    asked = situation.config.trainer.threads
    if asked is not None:
        return asked
    cores = max(
        1, machine.cores() // situation.config.trainer.devices
    )  # all of the node's processes measure at once
    if situation.device.type != "cpu" or cores == 1:
        return cores
    order = sorted(range(len(situation.pairs)), key=lambda i: situation.pairs[i].tokens)
    batch = microbatch.make(situation.pairs, [order[len(order) // 2]], layout, situation.pad_id)
    support.use_layout(model, layout)
    counts = sorted({cores, *(2**k for k in range(cores.bit_length()) if 2**k <= cores)})
    with torch.autocast("cpu", torch.bfloat16, enabled=situation.precision is Precision.BF16):
        seconds = {count: _seconds(model, batch, count) for count in counts}
    best = 1
    for count in counts[1:]:
        if seconds[count] < _WORTH * seconds[best]:
            best = count
    measured = ", ".join(f"{count}: {1000 * s:.0f} ms" for count, s in seconds.items())
    reasons.append(f"threads {best}: a forward took, by threads, {measured}")
    return best


def _seconds(model: nn.Module, batch: microbatch.MicroBatch, threads: int) -> float:
    torch.set_num_threads(threads)
    best = float("inf")
    for _ in range(_PROBES):
        start = time.perf_counter()
        response_log_probs(model, batch)
        best = min(best, time.perf_counter() - start)
    return best


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
        fastest = (fit.logits is Logits.KEPT or training.logits is Logits.CHUNKED) and (
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


def _counted(model: PreTrainedModel, situation: Situation) -> tuple[ModelShape | None, Settings]:
    """The model and its training, as memory and operations are counted; no shape where the model has none."""
    config = attention_interface.base_model(model).config
    return ModelShape.of(config), settings_of(situation.config, situation.precision, situation.device)


def settings_of(config: RunConfig, precision: Precision, device: torch.device) -> Settings:
    """A configured training as memory and operations are counted."""
    lora, trainer = config.lora, config.trainer
    return Settings(
        bf16=precision is Precision.BF16,
        lora_rank=lora.rank,
        lora_targets=lora.target_modules,
        devices=trainer.ranks,
        sharded=trainer.strategy is Strategy.FSDP,
        fused=not config.training.compile,
        cpu=device.type == "cpu",
    )


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
