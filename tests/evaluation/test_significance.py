"""Permutation tests against scipy's, their level under the null hypothesis, and Holm's correction by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lidr.evaluation.significance import holm, permutation_test
from lidr.evaluation.statistics import Observation

ONE = {"de": 1.0}


def observed(values: np.ndarray, group: str = "de") -> list[Observation]:  # type: ignore[type-arg]
    return [Observation(f"p{i}", group, float(v)) for i, v in enumerate(values)]


def test_few_problems_give_scipys_exact_p_value() -> None:
    rng = np.random.default_rng(0)
    after, before = rng.normal(0.5, 1, 10), rng.normal(0, 1, 10)
    theirs = stats.permutation_test(
        (after, before), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert permutation_test(observed(after), observed(before), ONE) == pytest.approx(theirs.pvalue)


def test_many_problems_are_near_scipys_t_test() -> None:
    rng = np.random.default_rng(1)
    after, before = rng.normal(0.15, 1, 250), rng.normal(0, 1, 250)
    ours = permutation_test(observed(after), observed(before), ONE)
    assert ours == pytest.approx(stats.ttest_rel(after, before).pvalue, abs=0.01)


def test_languages_of_a_problem_are_exchanged_together() -> None:
    """Ten languages that copy one another are one observation of a problem, not ten."""
    rng = np.random.default_rng(2)
    after, before = rng.normal(0.3, 1, 40), rng.normal(0, 1, 40)
    codes = [f"l{i}" for i in range(10)]
    weights = dict.fromkeys(codes, 0.1)
    many = [[o for c in codes for o in observed(v, c)] for v in (after, before)]
    single = permutation_test(observed(after), observed(before), ONE)
    assert permutation_test(many[0], many[1], weights) == pytest.approx(single)  # type: ignore[arg-type]


def test_only_shared_problems_count() -> None:
    values = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    after, before = observed(values), observed(0 * values)
    assert permutation_test(after, before, ONE) == pytest.approx(2 / 2**6)
    assert permutation_test([*after, Observation("other", "de", 9.0)], before, ONE) == pytest.approx(2 / 2**6)
    assert permutation_test(after, [], ONE) is None
    assert permutation_test(after, after, ONE) == 1


def test_its_level_is_kept_under_the_null_hypothesis() -> None:
    """300 pairs of models that do not differ, answers right or wrong: 5 % are called different (2 to 8 by chance)."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(300):
        difficulty = rng.random(12)
        after, before = ((rng.random(12) < difficulty).astype(float) for _ in range(2))
        found.append(permutation_test(observed(after), observed(before), ONE))
    assert np.mean([p <= 0.05 for p in found if p is not None]) <= 0.08


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_never_lowers_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a is not None and a >= p for a, p in zip(adjusted, p_values, strict=True))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    values = [adjusted[i] for i in order]
    assert values == sorted(values)  # type: ignore[type-var]
