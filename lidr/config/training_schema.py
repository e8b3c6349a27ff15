"""What a training minimises: the objectives, their properties and their values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class FirstLoss(NamedTuple):
    """A loss known beforehand, in nats, and the formula it comes from."""

    value: float
    formula: str


class ObjectiveName(StrEnum):
    """The objectives; what sets one apart from another is asked here and nowhere else."""

    DPO = "dpo"
    IPO = "ipo"
    SIMPO = "simpo"
    SFT = "sft"

    @property
    def is_preference(self) -> bool:
        """Whether it compares chosen with rejected, and so reads both and has a beta."""
        return self is not ObjectiveName.SFT

    @property
    def needs_reference(self) -> bool:
        """Whether it compares the policy with the frozen reference pi_ref."""
        return self in (ObjectiveName.DPO, ObjectiveName.IPO)

    @property
    def averages_log_probs(self) -> bool:
        """Whether it divides log pi(y|x) by |y|, rather than take the sum over the tokens."""
        return self in (ObjectiveName.IPO, ObjectiveName.SIMPO)

    @property
    def supports_label_smoothing(self) -> bool:
        """Whether its loss is a log-sigmoid of the margin, so a likelihood whose labels can be smoothed."""
        return self in (ObjectiveName.DPO, ObjectiveName.SIMPO)

    @property
    def supports_target_margin(self) -> bool:
        return self is ObjectiveName.SIMPO

    @property
    def supports_divergence(self) -> bool:
        return self is ObjectiveName.DPO

    def first_loss(self, beta: float) -> FirstLoss | None:
        """The preference term where the reference is the policy, so where every margin is 0.

        None where there is no reference, and the first loss is whatever the policy makes of it.
        """
        known = {
            ObjectiveName.DPO: FirstLoss(math.log(2), "ln 2"),
            ObjectiveName.IPO: FirstLoss(1 / (4 * beta**2), "1/(4 beta^2)"),
        }
        return known.get(self)


class NllNorm(StrEnum):
    """Divide -log pi(y_w|x) by the response's own length, or by the tokens of the whole step."""

    SEQUENCE = "sequence"
    TOKEN = "token"


class Divergence(StrEnum):
    """The divergence that ties the policy to the reference (f-DPO, arXiv 2309.16240); DPO's is reverse KL."""

    REVERSE_KL = "reverse_kl"
    FORWARD_KL = "forward_kl"
    JS = "js"
    ALPHA = "alpha"


@dataclass(frozen=True)
class ObjectiveConfig:
    """An objective and its values; 0 switches label_smoothing, target_margin and divergence_alpha off."""

    name: ObjectiveName
    beta: float
    beta_end: float | None
    alpha: float
    nll_norm: NllNorm
    label_smoothing: float
    target_margin: float
    divergence: Divergence
    divergence_alpha: float

    def describe(self) -> str:
        """In words, with what differs from the plain objective."""
        beta = f"{self.beta:g}" if self.beta_end is None else f"{self.beta:g} to {self.beta_end:g}"
        words = [self.name.value]
        words += [f"beta {beta}"] if self.name.is_preference else []
        words += [f"alpha {self.alpha:g}", f"NLL by {self.nll_norm}"]
        words += [f"label smoothing {self.label_smoothing:g}"] if self.label_smoothing else []
        words += [f"target margin {self.target_margin:g}"] if self.target_margin else []
        if self.divergence is not Divergence.REVERSE_KL:
            strength = f" {self.divergence_alpha:g}" if self.divergence_alpha else ""
            words.append(f"divergence {self.divergence}{strength}")
        return ", ".join(words)
