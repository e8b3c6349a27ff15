import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError, jaxtyped
from torch import Tensor
from torch.nn.functional import logsigmoid

from lidr.config import Divergence, NllNorm, ObjectiveConfig, ObjectiveName
from lidr.training.objective import (
    PairLengths,
    PairLogProbs,
    PreferenceTerms,
    StepTotals,
    Terms,
    beta_at,
    chosen_nll,
    contribution,
    detach,
    divergence_score,
    join,
    preference_terms,
    sft_terms,
    terms_type,
)

Row = tuple[float, float, float, float]
LOG_PROBS = st.floats(-200, 0, width=32)
ROWS = st.lists(st.tuples(LOG_PROBS, LOG_PROBS, LOG_PROBS, LOG_PROBS), min_size=1, max_size=6)
LOG_RATIOS = st.floats(-60, 60)
PREFERENCES = [name for name in ObjectiveName if name.is_preference]
REFERENCED = [name for name in ObjectiveName if name.needs_reference]
REPEATABLE = settings(deadline=None, derandomize=True, max_examples=50)
PAIR = (-12.0, -20.0, -15.0, -18.0)


def objective(name: str = "dpo", **values: Any) -> ObjectiveConfig:
    """Plain DPO at beta 0.1 without NLL, but for what is named."""
    defaults = {
        "beta": 0.1,
        "beta_end": None,
        "alpha": 0.0,
        "nll_norm": NllNorm.SEQUENCE,
        "label_smoothing": 0.0,
        "target_margin": 0.0,
        "divergence": Divergence.REVERSE_KL,
        "divergence_alpha": 0.0,
    }
    return ObjectiveConfig(name=ObjectiveName(name), **(defaults | values))


def terms_of(
    rows: Sequence[Row], config: ObjectiveConfig, lengths: Sequence[tuple[int, int]] | None = None
) -> PreferenceTerms:
    """Rows are (logp_w, logp_l, ref_w, ref_l); lengths are (|y_w|, |y_l|), 1 if left out."""
    logp_w, logp_l, ref_w, ref_l = torch.tensor(rows, dtype=torch.float64).unbind(1)
    sizes = PairLengths(*torch.tensor(lengths or [(1, 1)] * len(rows)).unbind(1))
    pi_ref = PairLogProbs(ref_w, ref_l) if config.name.needs_reference else None
    step = StepTotals(len(rows), int(sizes.w.sum()))
    nll = chosen_nll(logp_w, sizes.w, step, config.nll_norm)
    return preference_terms(PairLogProbs(logp_w, logp_l), pi_ref, sizes, nll, config, config.beta)


def assert_values(terms: Terms, **expected: float) -> None:
    found = {name: value.item() for name, value in terms.columns().items()}
    assert found == pytest.approx(expected, abs=1e-6)


def test_dpo_worked_by_hand() -> None:
    """logp_w = -12, ref_w = -15, logp_l = -20, ref_l = -18, |y_w| = 4, beta = 0.5, alpha = 2.

    reward_chosen = 0.5 * 3 = 1.5; reward_rejected = 0.5 * -2 = -1; margin = 2.5.
    preference = log(1 + e^-2.5) = log(1.0820850) = 0.0788897; nll = 12 / 4 = 3; loss = 0.0788897 + 2 * 3.
    """
    terms = terms_of([PAIR], objective("dpo", beta=0.5, alpha=2.0), [(4, 2)])
    rest = {"reward_chosen": 1.5, "reward_rejected": -1, "margin": 2.5, "correct": 1, "drift": 3}
    assert_values(terms, loss=6.0788897, nll=3, preference=0.0788897, **rest)


def test_ipo_worked_by_hand() -> None:
    """The pair above with |y_l| = 2: h = 3/4 - (-2)/2 = 1.75 nats a token, drawn to 1 / (2 * 0.5) = 1.

    rewards = 0.5 * 0.75 = 0.375 and 0.5 * -1 = -0.5; margin = 0.5 * 1.75 = 0.875.
    preference = (1.75 - 1)^2 = 0.5625; loss = 0.5625 + 2 * 3. The drift stays 3 nats a response.
    """
    terms = terms_of([PAIR], objective("ipo", beta=0.5, alpha=2.0), [(4, 2)])
    rest = {"reward_chosen": 0.375, "reward_rejected": -0.5, "margin": 0.875, "correct": 1, "drift": 3}
    assert_values(terms, loss=6.5625, nll=3, preference=0.5625, **rest)


def test_simpo_worked_by_hand() -> None:
    """The same pair, gamma = 1: rewards = 0.5 * -12/4 = -1.5 and 0.5 * -20/2 = -5; margin = 3.5.

    preference = log(1 + e^-(3.5 - 1)) = 0.0788897; loss = 0.0788897 + 2 * 3. There is no reference to drift from.
    """
    terms = terms_of([PAIR], objective("simpo", beta=0.5, alpha=2.0, target_margin=1.0), [(4, 2)])
    rest = {"reward_chosen": -1.5, "reward_rejected": -5, "margin": 3.5, "correct": 1}
    assert_values(terms, loss=6.0788897, nll=3, preference=0.0788897, **rest)


def test_label_smoothing_worked_by_hand() -> None:
    """margin = 2.5, eps = 0.1: 0.9 * 0.0788897 + 0.1 * (0.0788897 + 2.5) = 0.0710007 + 0.2578890."""
    terms = terms_of([PAIR], objective(beta=0.5, label_smoothing=0.1))
    assert terms.preference.item() == pytest.approx(0.3288897, abs=1e-6)


@pytest.mark.parametrize(
    ("divergence", "alpha", "doubled", "halved"),
    [
        ("reverse_kl", 0.0, 0.6931472, -0.6931472),
        ("forward_kl", 0.0, 0.5, -1.0),
        ("js", 0.0, 0.2876821, -0.4054651),
        ("alpha", 0.5, 0.5857864, -0.8284271),
    ],
)
def test_divergences_worked_by_hand(divergence: str, alpha: float, doubled: float, halved: float) -> None:
    """u = 2, and 1/2. forward_kl: 1 - 1/2, 1 - 2. js: log(4/3), log(2/3). alpha: 2 (1 - 2^-1/2), 2 (1 - 2^1/2)."""
    log_u = torch.tensor([math.log(2), -math.log(2)])
    assert divergence_score(log_u, Divergence(divergence), alpha).tolist() == pytest.approx([doubled, halved])


def test_the_two_nll_norms_differ_by_hand() -> None:
    """Two chosen responses: -logp_w = 6 over 2 tokens, and 8 over 8 tokens.

    sequence: (6/2 + 8/8) / 2 = 2. token: (6 + 8) / (2 + 8) = 1.4.
    """
    logp_w, lengths, step = torch.tensor([-6.0, -8.0]), torch.tensor([2, 8]), StepTotals(2, 10)
    assert chosen_nll(logp_w, lengths, step, NllNorm.SEQUENCE).mean().item() == pytest.approx(2.0)
    assert chosen_nll(logp_w, lengths, step, NllNorm.TOKEN).mean().item() == pytest.approx(1.4)


def test_beta_goes_linearly_to_its_end() -> None:
    """Five steps from 0.1 to 0.5: 0.1, 0.2, 0.3, 0.4, 0.5; both ends to the last bit."""
    scheduled = objective(beta=0.1, beta_end=0.5)
    betas = [beta_at(step, 5, scheduled) for step in range(5)]
    assert betas == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert (betas[0], betas[-1]) == (0.1, 0.5)
    assert [beta_at(step, 3, objective()) for step in range(3)] == [0.1] * 3
    assert beta_at(0, 1, scheduled) == 0.1


def test_sft_is_the_nll_alone() -> None:
    terms = sft_terms(torch.tensor([1.0, 3.0]), alpha=0.5)
    assert terms.loss.tolist() == [0.5, 1.5]
    assert contribution(terms, StepTotals(4, 9)).item() == pytest.approx(0.5)


@pytest.mark.parametrize("name", REFERENCED)
@pytest.mark.parametrize("beta", [0.1, 2.0])
def test_the_first_loss_is_the_known_one(name: ObjectiveName, beta: float) -> None:
    terms = terms_of([(-3, -5, -3, -5), (-50, -1, -50, -1)], objective(name, beta=beta), [(2, 3), (9, 1)])
    first = name.first_loss(beta)
    assert first is not None
    assert terms.preference.tolist() == pytest.approx([first.value] * 2)
    assert terms.margin.tolist() == terms.correct.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("divergence", list(Divergence))
def test_neither_smoothing_nor_divergence_moves_the_first_loss(divergence: Divergence) -> None:
    config = objective(label_smoothing=0.3, divergence=divergence, divergence_alpha=0.5)
    assert terms_of([(-3, -5, -3, -5)], config).preference.item() == pytest.approx(math.log(2))


def test_without_a_reference_no_first_loss_is_known() -> None:
    assert [name for name in ObjectiveName if name.first_loss(0.1) is None] == ["simpo", "sft"]


@pytest.mark.parametrize("name", PREFERENCES)
def test_terms_come_as_announced(name: ObjectiveName) -> None:
    terms = terms_of([PAIR, PAIR], objective(name))
    assert type(terms) is type(detach(terms)) is type(join([terms, terms])) is terms_type(name)
    assert all(column.shape == (4,) for column in join([terms, terms]).columns().values())


@REPEATABLE
@given(ROWS)
def test_the_loss_is_the_formula(rows: list[Row]) -> None:
    terms = terms_of(rows, objective(beta=0.3))
    for i, (logp_w, logp_l, ref_w, ref_l) in enumerate(rows):
        z = 0.3 * ((logp_w - ref_w) - (logp_l - ref_l))
        expected = math.log1p(math.exp(-z)) if z > -30 else -z
        assert terms.preference[i].item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", PREFERENCES)
@REPEATABLE
@given(rows=ROWS)
def test_swapping_chosen_and_rejected_flips_the_margin(name: ObjectiveName, rows: list[Row]) -> None:
    swapped = terms_of(
        [(logp_l, logp_w, ref_l, ref_w) for logp_w, logp_l, ref_w, ref_l in rows], objective(name)
    )
    torch.testing.assert_close(swapped.margin, -terms_of(rows, objective(name)).margin)


@pytest.mark.parametrize("name", PREFERENCES)
@REPEATABLE
@given(rows=ROWS, shift=st.floats(-50, 50, width=32), length=st.integers(1, 9))
def test_a_shift_of_both_log_probs_changes_nothing(
    name: ObjectiveName, rows: list[Row], shift: float, length: int
) -> None:
    """Of both log-ratios of DPO; of responses of one length, where an objective averages."""
    lengths = [(length, length)] * len(rows)
    shifted = terms_of([(w + shift, y + shift, *ref) for w, y, *ref in rows], objective(name), lengths)
    torch.testing.assert_close(shifted.preference, terms_of(rows, objective(name), lengths).preference)


@pytest.mark.parametrize("name", [name for name in ObjectiveName if name.supports_label_smoothing])
@REPEATABLE
@given(rows=ROWS, eps=st.floats(0, 0.49))
def test_smoothing_weighs_a_pair_with_its_reverse(name: ObjectiveName, rows: list[Row], eps: float) -> None:
    plain = terms_of(rows, objective(name))
    reverse = terms_of([(y, w, ref_l, ref_w) for w, y, ref_w, ref_l in rows], objective(name))
    smoothed = terms_of(rows, objective(name, label_smoothing=eps))
    expected = (1 - eps) * plain.preference + eps * reverse.preference
    torch.testing.assert_close(smoothed.preference, expected)
    unsmoothed = terms_of(rows, objective(name, label_smoothing=0.0))
    assert torch.equal(unsmoothed.preference, -logsigmoid(unsmoothed.margin))


@REPEATABLE
@given(st.lists(LOG_RATIOS, min_size=1, max_size=6), st.floats(0.01, 0.99))
def test_divergences_order_answers_alike(ratios: list[float], alpha: float) -> None:
    """f' rises, is 0 where policy and reference agree, and a lower alpha lets it rise higher and fall less."""
    log_u = torch.tensor([0.0, *sorted(ratios)], dtype=torch.float64)
    scores = {d: divergence_score(log_u, d, alpha) for d in Divergence}
    for score in scores.values():
        assert score[0] == 0
        assert (score[1:].diff() >= 0).all()
    reverse, between, forward = (scores[Divergence(d)] for d in ("reverse_kl", "alpha", "forward_kl"))
    assert torch.equal(reverse, log_u)
    assert (forward <= between + 1e-9 * between.abs()).all()
    assert (between <= reverse + 1e-9).all()
    torch.testing.assert_close(divergence_score(log_u, Divergence.ALPHA, 1.0), forward)
    near_zero = divergence_score(log_u, Divergence.ALPHA, 1e-9)
    torch.testing.assert_close(near_zero, reverse, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("divergence", list(Divergence))
def test_an_unlikely_answer_leaves_the_gradient_finite(divergence: Divergence) -> None:
    logp = torch.tensor([-1.0, -400.0], requires_grad=True)
    config = objective(divergence=divergence, divergence_alpha=0.5)
    pi_theta, pi_ref = PairLogProbs(logp[:1], logp[1:]), PairLogProbs(torch.zeros(1), torch.zeros(1))
    ones = torch.ones(1, dtype=torch.long)
    preference_terms(
        pi_theta, pi_ref, PairLengths(ones, ones), torch.zeros(1), config, 0.1
    ).loss.sum().backward()
    assert logp.grad is not None
    assert logp.grad.isfinite().all()


@pytest.mark.parametrize("name", PREFERENCES)
@REPEATABLE
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=12),
    size=st.integers(1, 12),
    norm=st.sampled_from(list(NllNorm)),
)
def test_a_step_is_the_mean_over_its_pairs_however_it_is_split(
    name: ObjectiveName, lengths: list[int], size: int, norm: NllNorm
) -> None:
    generator = torch.Generator().manual_seed(len(lengths))
    log_probs = -10 * torch.rand(4, len(lengths), generator=generator, dtype=torch.float64)
    y, step = torch.tensor(lengths), StepTotals(len(lengths), sum(lengths))
    config = objective(name, alpha=1.0, nll_norm=norm)

    def share(part: slice) -> Tensor:
        logp_w, logp_l, ref_w, ref_l = log_probs[:, part]
        pi_ref = PairLogProbs(ref_w, ref_l) if name.needs_reference else None
        nll = chosen_nll(logp_w, y[part], step, norm)
        pi_theta, sizes = PairLogProbs(logp_w, logp_l), PairLengths(y[part], y.flip(0)[part])
        return contribution(preference_terms(pi_theta, pi_ref, sizes, nll, config, 0.1), step)

    parts = [slice(start, start + size) for start in range(0, len(lengths), size)]
    torch.testing.assert_close(torch.stack([share(part) for part in parts]).sum(), share(slice(None)))


def test_shapes_in_signatures_are_checked() -> None:
    """Three log-probs and two lengths are no pairs."""
    checked = jaxtyped(typechecker=beartype)(chosen_nll)
    step = StepTotals(2, 5)
    assert checked(torch.zeros(2), torch.tensor([2, 3]), step, NllNorm.SEQUENCE).shape == (2,)
    with pytest.raises(TypeCheckError):
        checked(torch.zeros(3), torch.tensor([2, 3]), step, NllNorm.SEQUENCE)
