"""When two first steps are the same."""

from dataclasses import replace

import pytest

from experiments.bench.agreement import disagreements, expected_nll
from experiments.bench.spec import FirstStep

STEP = FirstStep(total=2.693, dpo=0.693, nll=2.0, grad_norm=5.0, tokens=100)
CHOSEN, LONGEST = {"es": 10, "ru": 30}, {"es": 50, "ru": 40}


def test_expected_nll_of_two_micro_batches_is_the_mean_of_each_ones() -> None:
    """-logp_w = 20 and 90 nats: pooled 110 / 40 = 2.75; one by one (20 / 10 + 90 / 30) / 2 = 2.5."""
    terms = {"es": 20 * 2 / 40, "ru": 90 * 2 / 40}  # lidr's, -logp_w * pairs / sum of |y_w|
    assert expected_nll(terms, CHOSEN, LONGEST, per_device=2) == pytest.approx(2.75)
    assert expected_nll(terms, CHOSEN, LONGEST, per_device=1) == pytest.approx(2.5)


def test_micro_batches_hold_the_longest_pairs_first() -> None:
    chosen = {"a": 1, "b": 1, "c": 2, "d": 4}
    terms = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}  # -logp_w = 2, 4, 6, 8 at sum 8, 4 pairs
    longest = {"a": 9, "b": 5, "c": 8, "d": 2}  # so a with c, b with d
    wanted = ((2 + 6) / (1 + 2) + (4 + 8) / (1 + 4)) / 2
    assert expected_nll(terms, chosen, longest, per_device=2) == pytest.approx(wanted)


def test_equal_steps_agree() -> None:
    assert disagreements(STEP, STEP, 2.693, "fp32", one_batch=True) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"dpo": 0.7, "total": 2.693}, "DPO term"),
        ({"nll": 2.1}, "NLL"),
        ({"total": 2.8}, "total"),
        ({"grad_norm": 5.5}, "gradient norm"),
        ({"grad_norm": float("nan")}, "gradient norm"),
        ({"tokens": 104}, "tokens"),
    ],
)
def test_each_number_is_compared(change: dict[str, float], word: str) -> None:
    found = disagreements(STEP, replace(STEP, **change), 2.693, "fp32", one_batch=True)
    assert [text.split(":")[0] for text in found] == [word]


def test_accumulation_changes_the_gradient_alone() -> None:
    theirs = replace(STEP, total=0.693 + 2.5, grad_norm=5.6)
    assert disagreements(STEP, theirs, 3.193, "fp32", one_batch=False) == []
