from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator
from scipy import stats

from lidr.evaluation.statistics import (
    NOTHING,
    RATE_DIFFERENCE,
    Observation,
    combine,
    difference,
    mean,
    mean_of_groups,
)

LANGUAGES = ("es", "de", "ru")


def observed(table: Any) -> list[Observation]:
    """Rows are problems, columns languages."""
    rows, columns = np.indices(table.shape)
    flat = zip(rows.ravel(), columns.ravel(), table.ravel(), strict=True)
    return [Observation(f"p{r}", LANGUAGES[c], float(v)) for r, c, v in flat]


def rates(rng: Generator, problems: int, chances: tuple[float, ...] = (0.7, 0.5, 0.3)) -> Any:
    """Right or wrong per problem and language; a problem's difficulty is shared by its languages."""
    difficulty = rng.normal(size=(problems, 1))
    noise = rng.normal(size=(problems, len(chances)))
    return ((difficulty + noise) / np.sqrt(2) < stats.norm.ppf(chances)).astype(float)


def test_one_language_agrees_with_scipy() -> None:
    values = rates(np.random.default_rng(0), 200)[:, :1]
    ours = mean(observed(values))
    theirs = stats.bootstrap((values[:, 0],), np.mean, method="percentile", n_resamples=9_999, rng=1)
    assert ours.value == pytest.approx(values.mean())
    assert ours.n == 200
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.0075)


def test_languages_of_one_problem_agree_with_scipy_on_the_cluster_means() -> None:
    values = rates(np.random.default_rng(1), 200)
    ours = mean_of_groups(observed(values), LANGUAGES)
    theirs = stats.bootstrap((values.mean(axis=1),), np.mean, method="percentile", n_resamples=9_999, rng=1)
    assert ours.n == 200
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.0075)
    apart = [Observation(f"{o.cluster} {o.group}", o.group, o.value) for o in observed(values)]
    alone = mean_of_groups(apart, LANGUAGES)
    assert None not in (ours.high, ours.low, alone.high, alone.low)
    assert ours.high - ours.low > 1.1 * (alone.high - alone.low)  # type: ignore[operator]


def test_percentile_and_bca_agree_at_the_sizes_used_here() -> None:
    values = rates(np.random.default_rng(2), 320)[:, 2]
    intervals = [
        stats.bootstrap((values,), np.mean, method=method, n_resamples=9_999, rng=1).confidence_interval
        for method in ("percentile", "BCa")
    ]
    assert tuple(intervals[0]) == pytest.approx(tuple(intervals[1]), abs=0.0075)


def test_a_paired_difference_agrees_with_scipy_on_the_differences() -> None:
    rng = np.random.default_rng(3)
    before = rates(rng, 200)
    after = np.maximum(before, rng.random(before.shape) < 0.2)
    weights: dict[Hashable, float] = dict.fromkeys(LANGUAGES, 1 / 3)
    ours = difference(observed(after), observed(before), weights)
    per_problem = (after - before).mean(axis=1)
    theirs = stats.bootstrap((per_problem,), np.mean, method="percentile", n_resamples=9_999, rng=1)
    assert ours.value == pytest.approx(per_problem.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.0075)


def test_a_gap_is_dominant_minus_the_mean_of_the_others() -> None:
    table = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    gap = combine(observed(table), {"es": 1.0, "de": -0.5, "ru": -0.5}, bounds=RATE_DIFFERENCE)
    assert gap.value == pytest.approx(0.75 - 0.25)


@pytest.mark.parametrize(("truth", "kind"), [(0.5, "mean"), (0.2, "gap")])
def test_the_interval_covers_the_truth_in_about_95_of_100_worlds(truth: float, kind: str) -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(200):
        found = observed(rates(rng, 80))
        if kind == "mean":
            estimate = mean_of_groups(found, LANGUAGES)
        else:
            estimate = combine(found, {"es": 1.0, "de": -1.0}, bounds=RATE_DIFFERENCE)
        assert estimate.low is not None
        assert estimate.high is not None
        hits += estimate.low <= truth <= estimate.high
    assert 0.91 <= hits / 200 <= 0.985


def test_nothing_observed_gives_nothing() -> None:
    assert mean([]) == NOTHING
    assert mean_of_groups([], LANGUAGES) == NOTHING
    assert mean_of_groups([], []) == NOTHING
    assert mean_of_groups([Observation("a", "es", 1.0)], ("es", "de")) == NOTHING


def test_one_problem_gives_the_exact_bound_of_a_rate_and_none_of_a_length() -> None:
    one = [Observation("a", "es", 1.0)]
    assert mean(one) == pytest.approx((1.0, 0.025, 1.0, 1))
    assert mean(one, bounds=None) == (1.0, None, None, 1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_rates_give_the_exact_clopper_pearson_interval(value: float) -> None:
    found = [Observation(str(i), "es", value) for i in range(60)]
    exact = stats.binomtest(int(60 * value), 60).proportion_ci(method="exact")
    assert mean(found) == pytest.approx((value, exact.low, exact.high, 60))


def test_equal_models_are_not_known_to_be_equal_everywhere() -> None:
    same = observed(np.tile([[1.0, 0.0, 1.0]], (100, 1)))
    estimate = difference(same, same, {"es": 1.0})
    assert estimate.value == 0
    assert estimate.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert estimate.low == pytest.approx(-(1 - 0.025 ** (1 / 100)))


def test_equal_lengths_have_an_interval_of_no_width() -> None:
    found = [Observation(str(i), "es", 12.0) for i in range(5)]
    assert mean(found, bounds=None) == (12.0, 12.0, 12.0, 5)


def test_many_problems_fit_into_blocks() -> None:
    rng = np.random.default_rng(5)
    found = [Observation(str(i), "es", float(v)) for i, v in enumerate(rng.random(3000) < 0.5)]
    estimate = mean(found)
    assert estimate.low == pytest.approx(0.5 - 1.96 * 0.5 / 3000**0.5, abs=0.012)


def test_the_order_of_observations_does_not_matter() -> None:
    found = observed(rates(np.random.default_rng(6), 50))
    assert mean_of_groups(found, LANGUAGES) == mean_of_groups(found[::-1], LANGUAGES)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=40))
def test_value_and_interval_are_ordered_and_inside_the_bounds(cells: list[tuple[int, bool]]) -> None:
    estimate = mean(Observation(str(c), "es", float(v)) for c, v in cells)
    assert estimate.value == pytest.approx(sum(v for _, v in cells) / len(cells))
    assert estimate.n == len({c for c, _ in cells})
    assert estimate.low is not None
    assert estimate.high is not None
    ends = [-1e-9, estimate.low, estimate.high, 1 + 1e-9]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(ends))
