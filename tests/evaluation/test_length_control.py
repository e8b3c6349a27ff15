"""Win rates at equal length: what is known of synthetic preferences comes out again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from lidr.evaluation.length_control import length_controlled


def synthetic(n: int, a: float, b: float, seed: int, shift: float = 400.0) -> tuple[np.ndarray, ...]:  # type: ignore[type-arg]
    """Preferences of a judge who likes length with strength b; the model writes `shift` characters more."""
    rng = np.random.default_rng(seed)
    baseline = rng.integers(500, 2500, size=n)
    lengths = baseline + rng.normal(shift, 500, size=n).astype(int)
    difference = lengths - baseline
    chance = 1 / (1 + np.exp(-(a + b * np.tanh(difference / difference.std()))))
    return (rng.random(n) < chance).astype(float), lengths, baseline


def test_the_win_rate_at_equal_length_is_recovered() -> None:
    wins, lengths, baseline = synthetic(5_000, a=-0.5, b=1.5, seed=0)
    found = length_controlled(wins.tolist(), lengths.tolist(), baseline.tolist())
    assert found.value == pytest.approx(1 / (1 + np.exp(0.5)), abs=0.03)
    assert wins.mean() > found.value + 0.1
    assert found.low < found.value < found.high


def test_without_a_length_bias_it_is_the_raw_win_rate() -> None:
    wins, lengths, baseline = synthetic(5_000, a=0.4, b=0.0, seed=1)
    found = length_controlled(wins.tolist(), lengths.tolist(), baseline.tolist())
    assert found.value == pytest.approx(wins.mean(), abs=0.02)


def test_the_fit_is_an_independent_optimisers() -> None:
    """With preferences between 0 and 1, as judges with log-probs give them; scipy minimises the same likelihood."""
    wins, lengths, baseline = synthetic(300, a=0.3, b=0.8, seed=2)
    soft = np.clip(0.8 * wins + 0.1, 0, 1)
    difference = (lengths - baseline).astype(float)
    x = np.tanh(difference / difference.std())

    def loss(theta: np.ndarray) -> float:  # type: ignore[type-arg]
        z = theta[0] + theta[1] * x
        return float(np.sum(np.logaddexp(0, z) - soft * z) + 0.5e-3 * (theta**2).sum())

    best = minimize(loss, np.zeros(2), tol=1e-12).x
    found = length_controlled(soft.tolist(), lengths.tolist(), baseline.tolist())
    assert found.value == pytest.approx(1 / (1 + np.exp(-best[0])), abs=1e-5)


def test_the_interval_covers_the_truth() -> None:
    truth = 1 / (1 + np.exp(-0.2))
    covered = 0
    for seed in range(50):
        wins, lengths, baseline = synthetic(200, a=0.2, b=1.0, seed=100 + seed)
        found = length_controlled(wins.tolist(), lengths.tolist(), baseline.tolist())
        covered += found.low <= truth <= found.high
    assert 44 <= covered <= 50


@pytest.mark.parametrize("wins", [[1.0] * 20, [0.0] * 20])
def test_one_sided_preferences_stay_finite(wins: list[float]) -> None:
    found = length_controlled(wins, list(range(20)), [10] * 20)
    assert found.value == pytest.approx(wins[0], abs=0.01)
    assert length_controlled([], [], []).value is None
    assert length_controlled([0.5] * 4, [7] * 4, [7] * 4).value == pytest.approx(0.5)
