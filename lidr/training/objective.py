"""The objectives as pure functions of log-probabilities: DPO, IPO and SimPO, each + NLL, and the SFT baseline.

With pi_theta the policy, pi_ref the frozen reference, y_w the chosen and y_l the rejected response to x, and
log-probs in nats, summed over a response's tokens, its end-of-turn token included, every preference objective
is a loss of one margin:

    reward(y) = beta * score(y)
    margin    = reward(y_w) - reward(y_l)
    loss      = preference(margin) + alpha * nll

    objective   score(y)                                            preference(margin)
    dpo         f'(pi_theta(y|x) / pi_ref(y|x)); DPO: its log        -log sigmoid(margin)
    ipo         (log pi_theta(y|x) - log pi_ref(y|x)) / |y|         ((margin - 1/2) / beta)^2
    simpo       log pi_theta(y|x) / |y|                             -log sigmoid(margin - gamma)

dpo + NLL is the paper's objective (arXiv 2410.08964; LLaMA-Factory's `sigmoid` with `pref_ftx`). `nll` is
-log pi_theta(y_w|x) / |y_w| (sequence), or normalised by the chosen tokens of the whole optimizer step (token).

An optimizer step may be computed in several micro-batches. Every term below is scaled such that the step's
loss is the plain mean over all its pairs, so a micro-batch adds `loss.sum() / step.pairs`, however the pairs
are split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from lidr.config import Divergence, NllNorm, ObjectiveConfig, ObjectiveName

_LARGEST_EXPONENT = 80.0  # exp(80) = 5.5e34, finite in fp32


class StepTotals(NamedTuple):
    """What a whole optimizer step holds: pairs, and chosen response tokens (sum of |y_w|)."""

    pairs: int
    chosen_tokens: int


class PairLogProbs(NamedTuple):
    """log pi(y_w|x) and log pi(y_l|x), in nats."""

    w: Float[Tensor, " pairs"]
    l: Float[Tensor, " pairs"]  # noqa: E741 - the paper's symbol


class PairLengths(NamedTuple):
    """|y_w| and |y_l|, in tokens, end of turn included."""

    w: Int[Tensor, " pairs"]
    l: Int[Tensor, " pairs"]  # noqa: E741 - the paper's symbol


@dataclass(frozen=True)
class Terms:
    """What every objective consists of, for each pair; of SFT it is all."""

    loss: Float[Tensor, " pairs"]
    nll: Float[Tensor, " pairs"]

    def columns(self) -> dict[str, Float[Tensor, " pairs"]]:
        """The terms by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class PreferenceTerms(Terms):
    """A preference objective without a reference.

    preference: the loss less its NLL term.
    reward_chosen, reward_rejected, margin: beta * score and their difference, as the module's table has them.
    correct: 1 where the margin is above 0, else 0; a tie, as in the first step of DPO, counts as 0.
    """

    preference: Float[Tensor, " pairs"]
    reward_chosen: Float[Tensor, " pairs"]
    reward_rejected: Float[Tensor, " pairs"]
    margin: Float[Tensor, " pairs"]
    correct: Float[Tensor, " pairs"]


@dataclass(frozen=True)
class ReferenceTerms(PreferenceTerms):
    """A preference objective with a reference.

    drift: log pi_theta(y_w|x) - log pi_ref(y_w|x), in nats over the whole response, whatever the score is;
        below 0 the chosen answer has become less likely.
    """

    drift: Float[Tensor, " pairs"]


T = TypeVar("T", bound=Terms)


def terms_type(name: ObjectiveName) -> type[Terms]:
    """What an objective's terms come as."""
    if not name.is_preference:
        return Terms
    return ReferenceTerms if name.needs_reference else PreferenceTerms


def beta_at(step: int, steps: int, objective: ObjectiveConfig) -> float:
    """beta at an optimizer step: linear from `beta` at the first to `beta_end` at the last, or constant.

    Args:
        step: 0 for the first.
        steps: optimizer steps of the whole iteration; where there is but one, it has `beta`.
    """
    if objective.beta_end is None or steps == 1:
        return objective.beta
    done = step / (steps - 1)
    return (1 - done) * objective.beta + done * objective.beta_end


def chosen_nll(
    logp_w: Float[Tensor, " pairs"], length_w: Int[Tensor, " pairs"], step: StepTotals, norm: NllNorm
) -> Float[Tensor, " pairs"]:
    """-log pi_theta(y_w|x), normalised, such that its mean over the step's pairs is the step's NLL.

    sequence: -logp_w / |y_w|.
    token: -logp_w * pairs / sum|y_w| over the step, whose mean is sum(-logp_w) / sum|y_w|.
    """
    if norm is NllNorm.SEQUENCE:
        return -logp_w / length_w
    return -logp_w * (step.pairs / step.chosen_tokens)


def divergence_score(
    log_u: Float[Tensor, " pairs"], divergence: Divergence, alpha: float
) -> Float[Tensor, " pairs"]:
    """f'(u) of the ratio u = pi_theta(y|x) / pi_ref(y|x), but for a constant, so that it is 0 at u = 1.

    f-DPO (Wang et al., arXiv 2309.16240, table 1):

        reverse_kl  log u
        forward_kl  1 - 1/u
        js          log(2u / (1 + u))
        alpha       (1 - u^-alpha) / alpha, which goes to reverse_kl for alpha to 0, and is forward_kl at 1

    This is the paper's alpha; TRL 1.16 has 1 - alpha for it (`f_alpha_divergence_coef`). u^-alpha stops at
    exp(80), as in TRL: beyond, a rejected answer would turn the gradient into 0 * inf.
    """
    if divergence is Divergence.REVERSE_KL:
        return log_u
    if divergence is Divergence.JS:
        return math.log(2) + logsigmoid(log_u)
    power = 1.0 if divergence is Divergence.FORWARD_KL else alpha
    return -torch.expm1((-power * log_u).clamp(max=_LARGEST_EXPONENT)) / power


def logistic_loss(margin: Float[Tensor, " pairs"], label_smoothing: float) -> Float[Tensor, " pairs"]:
    """-(1 - eps) * log sigmoid(margin) - eps * log sigmoid(-margin), eps the share of labels that are wrong.

    0 is DPO's own loss (arXiv 2305.18290, eq. 7), else conservative DPO (Mitchell 2023,
    ericmitchell.ai/cdpo.pdf), least at the margin log((1 - eps) / eps). TRL's `robust` is another formula.
    """
    return -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)


def ipo_loss(margin: Float[Tensor, " pairs"], beta: float) -> Float[Tensor, " pairs"]:
    """(h - 1 / (2 beta))^2 with h = margin / beta; beta is tau in the paper (arXiv 2310.12036, eq. 17).

    The paper's h is a difference of summed log-ratios. Here, as in TRL 1.16 and LLaMA-Factory, it is one of
    means per token; TRL's source says that the paper's results were made that way.
    """
    return ((margin - 0.5) / beta) ** 2


def preference_loss(
    margin: Float[Tensor, " pairs"], objective: ObjectiveConfig, beta: float
) -> Float[Tensor, " pairs"]:
    """The preference term of each pair, of an objective that has one.

    SimPO (arXiv 2405.14734, eq. 6) takes its target margin gamma off the margin: `simpo_gamma` in TRL and
    LLaMA-Factory.
    """
    if objective.name is ObjectiveName.IPO:
        return ipo_loss(margin, beta)
    return logistic_loss(margin - objective.target_margin, objective.label_smoothing)


def preference_terms(
    pi_theta: PairLogProbs,
    pi_ref: PairLogProbs | None,
    lengths: PairLengths,
    nll: Float[Tensor, " pairs"],
    objective: ObjectiveConfig,
    beta: float,
) -> PreferenceTerms:
    """The preference term + alpha * NLL of each pair, gradients kept.

    Args:
        pi_ref: None for an objective without a reference, as if it were 1.
        beta: of this step, from `beta_at`.
    """
    log_u = pi_theta if pi_ref is None else PairLogProbs(pi_theta.w - pi_ref.w, pi_theta.l - pi_ref.l)
    reward_chosen = beta * _score(log_u.w, lengths.w, objective)
    reward_rejected = beta * _score(log_u.l, lengths.l, objective)
    margin = reward_chosen - reward_rejected
    preference = preference_loss(margin, objective, beta)
    terms = {
        "loss": preference + objective.alpha * nll,
        "nll": nll,
        "preference": preference,
        "reward_chosen": reward_chosen,
        "reward_rejected": reward_rejected,
        "margin": margin,
        "correct": (margin > 0).to(margin.dtype),
    }
    return PreferenceTerms(**terms) if pi_ref is None else ReferenceTerms(**terms, drift=log_u.w)


def _score(
    log_u: Float[Tensor, " pairs"], length: Int[Tensor, " pairs"], objective: ObjectiveConfig
) -> Float[Tensor, " pairs"]:
    score = divergence_score(log_u, objective.divergence, objective.divergence_alpha)
    return score / length if objective.name.averages_log_probs else score


def sft_terms(nll: Float[Tensor, " pairs"], *, alpha: float) -> Terms:
    """The baseline "Multilingual Alignment": NLL on the chosen response alone, without a reference."""
    return Terms(loss=alpha * nll, nll=nll)


def contribution(terms: Terms, step: StepTotals) -> Float[Tensor, ""]:
    """What a micro-batch adds to the loss of its optimizer step."""
    return terms.loss.sum() / step.pairs


def detach(terms: T) -> T:
    """The same values without their graph."""
    return type(terms)(**{name: term.detach() for name, term in terms.columns().items()})


def join(parts: Sequence[T]) -> T:
    """The terms of several micro-batches of one step, one after the other."""
    columns = [part.columns() for part in parts]
    return type(parts[0])(**{name: torch.cat([c[name] for c in columns]) for name in columns[0]})
