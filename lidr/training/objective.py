"""DPO + NLL, and the SFT baseline, as pure functions of log-probabilities.

The paper's objective (arXiv 2410.08964; LLaMA-Factory's `sigmoid` with `pref_ftx`), with pi_theta the policy,
pi_ref the frozen reference, y_w the chosen and y_l the rejected response to x:

    margin_i = beta * [(log pi_theta(y_w|x) - log pi_ref(y_w|x)) - (log pi_theta(y_l|x) - log pi_ref(y_l|x))]
    loss_i   = -log sigmoid(margin_i) + alpha * nll_i

Log-probabilities are sums over the tokens of a response, its end-of-turn token included. `nll_i` is
-log pi_theta(y_w|x) / |y_w| (sequence), or normalised by the chosen tokens of the whole optimizer step
(token).

An optimizer step may be computed in several micro-batches. Every term below is scaled such that the step's
loss is the plain mean over all its pairs, so a micro-batch adds `loss.sum() / step.pairs`, however the pairs
are split.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from lidr.config import NllNorm


class StepTotals(NamedTuple):
    """What a whole optimizer step holds: pairs, and chosen response tokens (sum of |y_w|)."""

    pairs: int
    chosen_tokens: int


class PairLogProbs(NamedTuple):
    """log pi(y_w|x) and log pi(y_l|x), in nats."""

    w: Float[Tensor, " pairs"]
    l: Float[Tensor, " pairs"]  # noqa: E741 - the paper's symbol


class PreferenceTerms(NamedTuple):
    """DPO + NLL of each pair.

    correct: 1 where the margin is above 0, else 0; a tie, as in the very first step, counts as 0.
    drift: log pi_theta(y_w|x) - log pi_ref(y_w|x), in nats; below 0 the chosen answer has become less likely.
    """

    loss: Float[Tensor, " pairs"]
    dpo: Float[Tensor, " pairs"]
    nll: Float[Tensor, " pairs"]
    reward_chosen: Float[Tensor, " pairs"]
    reward_rejected: Float[Tensor, " pairs"]
    margin: Float[Tensor, " pairs"]
    correct: Float[Tensor, " pairs"]
    drift: Float[Tensor, " pairs"]


class SftTerms(NamedTuple):
    """NLL of each chosen response."""

    loss: Float[Tensor, " pairs"]
    nll: Float[Tensor, " pairs"]


Terms = PreferenceTerms | SftTerms


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


def preference_terms(
    pi_theta: PairLogProbs,
    pi_ref: PairLogProbs,
    nll: Float[Tensor, " pairs"],
    *,
    beta: float,
    alpha: float,
) -> PreferenceTerms:
    """DPO + alpha * NLL of each pair, gradients kept."""
    drift = pi_theta.w - pi_ref.w
    reward_chosen = beta * drift
    reward_rejected = beta * (pi_theta.l - pi_ref.l)
    margin = reward_chosen - reward_rejected
    dpo = -logsigmoid(margin)
    return PreferenceTerms(
        loss=dpo + alpha * nll,
        dpo=dpo,
        nll=nll,
        reward_chosen=reward_chosen,
        reward_rejected=reward_rejected,
        margin=margin,
        correct=(margin > 0).to(margin.dtype),
        drift=drift,
    )


def sft_terms(nll: Float[Tensor, " pairs"], *, alpha: float) -> SftTerms:
    """The baseline "Multilingual Alignment": NLL on the chosen response alone, without a reference."""
    return SftTerms(loss=alpha * nll, nll=nll)


def contribution(terms: Terms, step: StepTotals) -> Float[Tensor, ""]:
    """What a micro-batch adds to the loss of its optimizer step."""
    return terms.loss.sum() / step.pairs


def detach(terms: Terms) -> Terms:
    """The same values without their graph."""
    return type(terms)(*(term.detach() for term in terms))


def join(parts: list[Terms]) -> Terms:
    """The terms of several micro-batches of one step, one after the other."""
    return type(parts[0])(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
