import math
from collections.abc import Sequence

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError, jaxtyped
from torch import Tensor

from lidr.config import NllNorm
from lidr.training.objective import (
    PairLogProbs,
    PreferenceTerms,
    StepTotals,
    chosen_nll,
    contribution,
    preference_terms,
    sft_terms,
)

LOG_PROBS = st.floats(-200, 0, width=32)
FOUR = st.lists(st.tuples(LOG_PROBS, LOG_PROBS, LOG_PROBS, LOG_PROBS), min_size=1, max_size=6)


def terms_of(rows: Sequence[tuple[float, float, float, float]], beta: float = 0.1) -> PreferenceTerms:
    """Rows are (logp_w, logp_l, ref_w, ref_l)."""
    logp_w, logp_l, ref_w, ref_l = torch.tensor(rows, dtype=torch.float64).unbind(1)
    pi_theta, pi_ref = PairLogProbs(logp_w, logp_l), PairLogProbs(ref_w, ref_l)
    return preference_terms(pi_theta, pi_ref, -logp_w, beta=beta, alpha=0.0)


def test_a_pair_worked_by_hand() -> None:
    """logp_w = -12, ref_w = -15, logp_l = -20, ref_l = -18, |y_w| = 4, beta = 0.5, alpha = 2.

    reward_chosen = 0.5 * 3 = 1.5; reward_rejected = 0.5 * -2 = -1; margin = 2.5.
    dpo = log(1 + e^-2.5) = log(1.0820850) = 0.0788897; nll = 12 / 4 = 3; loss = 0.0788897 + 2 * 3 =
    6.0788897.
    """
    logp_w, length_w = torch.tensor([-12.0]), torch.tensor([4])
    nll = chosen_nll(logp_w, length_w, StepTotals(1, 4), NllNorm.SEQUENCE)
    terms = preference_terms(
        PairLogProbs(logp_w, torch.tensor([-20.0])),
        PairLogProbs(torch.tensor([-15.0]), torch.tensor([-18.0])),
        nll,
        beta=0.5,
        alpha=2.0,
    )
    expected = PreferenceTerms(
        loss=torch.tensor([6.0788897]),
        dpo=torch.tensor([0.0788897]),
        nll=torch.tensor([3.0]),
        reward_chosen=torch.tensor([1.5]),
        reward_rejected=torch.tensor([-1.0]),
        margin=torch.tensor([2.5]),
        correct=torch.tensor([1.0]),
        drift=torch.tensor([3.0]),
    )
    torch.testing.assert_close(terms, expected)


def test_the_two_nll_norms_differ_by_hand() -> None:
    """Two chosen responses: -logp_w = 6 over 2 tokens, and 8 over 8 tokens.

    sequence: (6/2 + 8/8) / 2 = 2. token: (6 + 8) / (2 + 8) = 1.4.
    """
    logp_w, lengths, step = torch.tensor([-6.0, -8.0]), torch.tensor([2, 8]), StepTotals(2, 10)
    assert chosen_nll(logp_w, lengths, step, NllNorm.SEQUENCE).mean().item() == pytest.approx(2.0)
    assert chosen_nll(logp_w, lengths, step, NllNorm.TOKEN).mean().item() == pytest.approx(1.4)


def test_equal_log_probs_give_ln_2_and_no_margin() -> None:
    terms = terms_of([(-3, -5, -3, -5), (-50, -1, -50, -1)])
    assert terms.dpo.tolist() == pytest.approx([math.log(2)] * 2)
    assert terms.margin.tolist() == terms.correct.tolist() == [0.0, 0.0]


def test_sft_is_the_nll_alone() -> None:
    nll = torch.tensor([1.0, 3.0])
    terms = sft_terms(nll, alpha=0.5)
    assert terms.loss.tolist() == [0.5, 1.5]
    assert contribution(terms, StepTotals(4, 9)).item() == pytest.approx(0.5)


@settings(deadline=None)
@given(FOUR)
def test_the_loss_is_the_formula(rows: list[tuple[float, float, float, float]]) -> None:
    terms = terms_of(rows, beta=0.3)
    for i, (logp_w, logp_l, ref_w, ref_l) in enumerate(rows):
        z = 0.3 * ((logp_w - ref_w) - (logp_l - ref_l))
        expected = math.log1p(math.exp(-z)) if z > -30 else -z
        assert terms.dpo[i].item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(FOUR)
def test_swapping_chosen_and_rejected_flips_the_margin(rows: list[tuple[float, float, float, float]]) -> None:
    swapped = terms_of([(logp_l, logp_w, ref_l, ref_w) for logp_w, logp_l, ref_w, ref_l in rows])
    torch.testing.assert_close(swapped.margin, -terms_of(rows).margin)


@settings(deadline=None)
@given(FOUR, st.floats(-50, 50, width=32))
def test_a_shift_of_both_reference_log_probs_changes_nothing(
    rows: list[tuple[float, float, float, float]], shift: float
) -> None:
    shifted = terms_of([(w, y, ref_w + shift, ref_l + shift) for w, y, ref_w, ref_l in rows])
    torch.testing.assert_close(shifted.dpo, terms_of(rows).dpo)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=12), st.integers(1, 12), st.sampled_from(list(NllNorm))
)
def test_a_step_is_the_mean_over_its_pairs_however_it_is_split(
    lengths: list[int], size: int, norm: NllNorm
) -> None:
    generator = torch.Generator().manual_seed(len(lengths))
    log_probs = -10 * torch.rand(4, len(lengths), generator=generator, dtype=torch.float64)
    logp_w, logp_l, ref_w, ref_l = log_probs
    y_w, step = torch.tensor(lengths), StepTotals(len(lengths), sum(lengths))

    def share(part: slice) -> Tensor:
        nll = chosen_nll(logp_w[part], y_w[part], step, norm)
        pi_theta, pi_ref = PairLogProbs(logp_w[part], logp_l[part]), PairLogProbs(ref_w[part], ref_l[part])
        return contribution(preference_terms(pi_theta, pi_ref, nll, beta=0.1, alpha=1.0), step)

    parts = [slice(start, start + size) for start in range(0, len(lengths), size)]
    torch.testing.assert_close(torch.stack([share(part) for part in parts]).sum(), share(slice(None)))


def test_shapes_in_signatures_are_checked() -> None:
    """Three log-probs and two lengths are no pairs."""
    checked = jaxtyped(typechecker=beartype)(chosen_nll)
    step = StepTotals(2, 5)
    assert checked(torch.zeros(2), torch.tensor([2, 3]), step, NllNorm.SEQUENCE).shape == (2,)
    with pytest.raises(TypeCheckError):
        checked(torch.zeros(3), torch.tensor([2, 3]), step, NllNorm.SEQUENCE)
