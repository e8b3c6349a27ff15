"""Log-probabilities under the frozen reference pi_ref, computed once per iteration, before training.

They are made with the policy's own numerics: the same forward, the same precision and the very micro-batches
of the first epoch. So where the reference is the policy as it starts, the first step's policy log-probs equal
them bit for bit, its DPO loss is ln 2 and its margin 0; anything else is a fault that `module` stops at.
Later epochs use the same values, although their batches pad differently. No second model is in memory while
training.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lidr.files import whole_file
from lidr.progress import Advance
from lidr.training.logprobs import response_log_probs
from lidr.training.microbatch import MicroBatch
from lidr.training.ranks import ALONE, Ranks

log = logging.getLogger(__name__)


class ReferenceLogProbs(NamedTuple):
    """log pi_ref(y_w|x) and log pi_ref(y_l|x) of every pair, by its index; fp32, nats."""

    logp_w: Float[Tensor, " pairs"]
    logp_l: Float[Tensor, " pairs"]


@torch.no_grad()
def compute(
    model: nn.Module,
    batches: Iterable[MicroBatch],
    pairs: int,
    device: torch.device,
    numerics: AbstractContextManager[object],
    advance: Advance,
    ranks: Ranks = ALONE,
    *,
    keep_logits: bool = True,
) -> ReferenceLogProbs:
    """Runs the reference over the micro-batches of one epoch.

    Args:
        model: pi_ref, in evaluation mode, on `device`.
        batches: together, with those of other ranks, they hold every pair exactly once.
        pairs: how many.
        numerics: the precision context the policy trains in.
        advance: told the number of pairs done.
        ranks: the processes that share the batches; each has all values in the end.
        keep_logits: as the policy does; a matrix product of fewer rows may round otherwise.
    """
    table = torch.zeros(3, pairs)  # log-probs of w and l, and how often a pair was met
    with numerics:
        for batch in batches:
            count = len(batch.pairs)  # 0 in a filler, which has sequences
            log_probs = response_log_probs(model, batch.to(device), keep_logits=keep_logits)
            chosen, rejected = log_probs.chunk(2)
            table[0, batch.pairs], table[1, batch.pairs] = chosen[:count].cpu(), rejected[:count].cpu()
            table[2, batch.pairs] += 1
            advance(count)
    logp_w, logp_l, met = ranks.total(table)
    if not (met == 1).all():
        raise RuntimeError("the reference's batches do not hold every pair exactly once")
    return ReferenceLogProbs(logp_w, logp_l)


def load(path: Path, key: str) -> ReferenceLogProbs | None:
    """The log-probs of an earlier attempt; None where there are none, or made from something else."""
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("key") == key:
                return ReferenceLogProbs(file.get_tensor("logp_w"), file.get_tensor("logp_l"))
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        log.warning("%s cannot be read (%s) and is computed anew", path, error)
        return None
    log.info("%s was made from other pairs, models or settings and is computed anew", path)
    return None


def save(path: Path, values: ReferenceLogProbs, key: str) -> None:
    """Writes the log-probs atomically, as safetensors with the content key in the metadata."""
    with whole_file(path) as temporary:
        save_file(values._asdict(), temporary, metadata={"key": key})
