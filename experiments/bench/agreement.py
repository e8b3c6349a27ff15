"""Whether both trainers compute the same loss: the first optimizer step, equal weights, the same four pairs.

TRL pools the NLL over a micro-batch, lidr (objective.nll_norm=token) over the optimizer step. With one
micro-batch a step these are the same number; with several, TRL's total is compared with what its own
definition gives for lidr's log-probs, and its gradient has another NLL part, so its norm may differ more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.bench.spec import FirstStep


@dataclass(frozen=True)
class Tolerance:
    """How far apart the same number may be: dpo in nats, the others relative to lidr's."""

    dpo: float
    nll: float
    grad_norm: float


TOLERANCES = {"fp32": Tolerance(1e-3, 1e-3, 0.01), "bf16": Tolerance(1e-2, 1e-2, 0.05)}
ACCUMULATED_GRAD_NORM = 0.15


def expected_nll(
    nll: Mapping[str, float], chosen: Mapping[str, int], longest: Mapping[str, int], per_device: int
) -> float:
    """TRL's NLL of a step in micro-batches: the mean over them of sum(-logp_w) / sum|y_w|.

    Args:
        nll: lidr's terms, -logp_w * pairs / sum|y_w| over the step, by language, one pair each.
        chosen: |y_w| by language.
        longest: tokens of the longer row; TRL's grouping puts the longest pairs first.
        per_device: pairs of a micro-batch.
    """
    scale = sum(chosen.values()) / len(chosen)
    order = sorted(chosen, key=lambda language: -longest[language])
    groups = [order[i : i + per_device] for i in range(0, len(order), per_device)]
    pooled = [scale * sum(nll[c] for c in group) / sum(chosen[c] for c in group) for group in groups]
    return sum(pooled) / len(pooled)


def disagreements(
    ours: FirstStep, theirs: FirstStep, total: float, precision: str, *, one_batch: bool
) -> list[str]:
    """Every number of the first step that is further off than it may be, in words; none is agreement.

    Args:
        total: what TRL's loss should be by its own definition.
        one_batch: whether TRL computed the step in one micro-batch.
    """
    allowed = TOLERANCES[precision]
    grad = allowed.grad_norm if one_batch else ACCUMULATED_GRAD_NORM
    found = []
    if theirs.tokens != ours.tokens:
        found.append(f"tokens: TRL {theirs.tokens}, lidr {ours.tokens}")
    for name, a, b, limit in (
        ("DPO term", theirs.dpo, ours.dpo, allowed.dpo),
        ("NLL", theirs.nll, ours.nll, allowed.nll * abs(ours.nll)),
        ("total", theirs.total, total, allowed.nll * abs(total)),
        ("gradient norm", theirs.grad_norm, ours.grad_norm, grad * ours.grad_norm),
    ):
        if not abs(a - b) <= limit:
            found.append(f"{name}: TRL {a:.5f}, lidr {b:.5f}, allowed ±{limit:.5f}")
    return found
