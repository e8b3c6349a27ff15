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
from lidr.config import Layout, Precision, RunConfig, TrainerPrecision
from lidr.errors import LidrError
from lidr.files import write_text
from lidr.training import microbatch, support
from lidr.training.fitting import fitted
from lidr.training.logprobs import response_log_probs
from lidr.training.ranks import ALONE, Ranks
from lidr.training.situation import Situation

log = logging.getLogger(__name__)
_WORTH = 0.95  # a larger number of threads must take less than this share of the time
_PROBES = 3


@dataclass(frozen=True)
class Choices:
    """How a training is computed; none of it changes the result but for rounding.

    ahead: tokens that a step's first micro-batch may have beyond the token budget.
    reasons: one sentence for each thing that was chosen rather than configured.
    """

    asked: str
    layout: Layout
    token_budget: int
    ahead: int
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
    fit = fitted(model, situation, layout, reasons)
    return Choices(
        asked=situation.asked, layout=layout, threads=threads, reasons=tuple(reasons), **fit._asdict()
    )


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
