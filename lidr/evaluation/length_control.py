"""Win rates at equal length: judges prefer longer answers, and a win rate should not be won by length.

The preference for the model over the baseline on prompt i is modelled as

    P_i = sigmoid(a + b * tanh((length_i - baseline_length_i) / s))

with s the standard deviation of the differences, after length-controlled AlpacaEval (arXiv 2404.04475, section 3,
without its term for the difficulty of a prompt, which needs other models' answers). The win rate at equal length is
sigmoid(a).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lidr.evaluation.statistics import CONFIDENCE, RESAMPLES, SEED, Array, Estimate

_STEPS = 50
_TOLERANCE = 1e-10
_RIDGE = 1e-3  # pseudo-prompts: keeps a and b finite where every preference is 0 or 1
_BLOCK = 200  # resamples at a time


def length_controlled(
    preferences: Sequence[float], lengths: Sequence[int], baseline_lengths: Sequence[int]
) -> Estimate:
    """The win rate at equal length, 0 to 1, with a percentile interval over prompts.

    Args:
        preferences: 0 to 1 by prompt, 1 where the model wins; a tie is 0.5.
        lengths, baseline_lengths: of the two answers to each prompt, in characters.
    """
    y = np.asarray(preferences, dtype=float)
    if not len(y):
        return Estimate(None, None, None, 0)
    x = _length_term(np.asarray(lengths, dtype=float) - np.asarray(baseline_lengths, dtype=float))
    whole = _fit(y, x, np.ones((1, len(y))), np.zeros(2))[0]
    rng = np.random.default_rng([SEED, len(y), 1])
    draws = []
    for start in range(0, RESAMPLES, _BLOCK):
        rows = min(_BLOCK, RESAMPLES - start)
        times = rng.multinomial(len(y), np.full(len(y), 1 / len(y)), size=rows).astype(float)
        draws.append(_sigmoid(_fit(y, x, times, whole)[:, 0]))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(draws), [tail, 1 - tail])
    return Estimate(float(_sigmoid(whole[0])), float(low), float(high), len(y))


def _length_term(difference: Array) -> Array:
    spread = difference.std()
    term: Array = np.tanh(difference / spread) if spread > 0 else np.zeros_like(difference)
    return term


def _fit(y: Array, x: Array, weights: Array, start: Array) -> Array:
    """Logistic regression by Newton's method, one for each row of weights, with labels between 0 and 1.

    Args:
        start: a and b to begin with.

    Returns:
        [resamples, 2] of a and b.
    """
    a, b = np.full(len(weights), start[0]), np.full(len(weights), start[1])
    powers = np.stack([np.ones_like(x), x, x * x], axis=1)
    for _ in range(_STEPS):
        p = _sigmoid(a[:, None] + b[:, None] * x)
        slope_a, slope_b = ((weights * (y - p)) @ powers[:, :2]).T - _RIDGE * np.stack([a, b])
        aa, ab, bb = ((weights * p * (1 - p)) @ powers).T + np.array([[_RIDGE], [0.0], [_RIDGE]])
        determinant = aa * bb - ab * ab
        step_a = np.clip((bb * slope_a - ab * slope_b) / determinant, -2, 2)
        step_b = np.clip((aa * slope_b - ab * slope_a) / determinant, -2, 2)
        a, b = a + step_a, b + step_b
        if max(np.abs(step_a).max(), np.abs(step_b).max()) < _TOLERANCE:
            break
    return np.stack([a, b], axis=1)


def _sigmoid(z: Array) -> Array:
    result: Array = 0.5 * (1 + np.tanh(z / 2))
    return result
