"""Means over seeds and problems, against numbers worked by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from lidr.evaluation.seeds import over_seeds, table


def test_the_mean_and_the_range_over_seeds() -> None:
    """Seed 1: 1, 0, 1, 1 (0.75); seed 2: 0, 0, 1, 0 (0.25); together 0.5."""
    found = over_seeds(np.array([[1.0, 0, 1, 1], [0, 0, 1, 0]]))
    assert found is not None
    assert (found.estimate.value, found.lowest, found.highest) == (0.5, 0.25, 0.75)
    assert found.estimate.n == 4


def test_nothing_and_no_spread() -> None:
    assert over_seeds(np.zeros((3, 0))) is None
    never = over_seeds(np.zeros((3, 100)))
    assert never is not None
    assert never.estimate.low == 0
    assert never.estimate.high == pytest.approx(1 - 0.025 ** (1 / 100)), "Clopper-Pearson of 0 in 100"


def test_problems_that_a_seed_lacks_are_left_out() -> None:
    found = table([{"a": 1.0, "b": 0.0, "c": 1.0}, {"c": 0.0, "a": 1.0}])
    assert found.tolist() == [[1.0, 1.0], [1.0, 0.0]]


def test_intervals_cover_the_truth_where_seeds_and_problems_both_vary() -> None:
    """Value = 0.3 + seed effect + problem effect + noise; 200 experiments of 8 seeds and 60 problems."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        values = 0.3 + rng.normal(0, 0.05, (8, 1)) + rng.normal(0, 0.3, (1, 60)) + rng.normal(0, 0.2, (8, 60))
        found = over_seeds(values)
        assert found is not None
        low, high = found.estimate.low, found.estimate.high
        assert low is not None
        assert high is not None
        covered += low <= 0.3 <= high
    assert 0.90 <= covered / 200 <= 0.99
