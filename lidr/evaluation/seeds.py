"""Several seeds of one experiment: means over seeds, with an interval over seeds and problems together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lidr.evaluation.statistics import (
    CONFIDENCE,
    RATE,
    RESAMPLES,
    SAME,
    SEED,
    Array,
    Estimate,
    without_spread,
)


class SeedEstimate(NamedTuple):
    """A mean over seeds and problems.

    estimate: its 95 % interval is over both; n counts problems.
    lowest, highest: the means of single seeds.
    """

    estimate: Estimate
    lowest: float
    highest: float


def over_seeds(values: Array, bounds: tuple[float, float] = RATE) -> SeedEstimate | None:
    """The mean of a table, and an interval by drawing its rows and its columns, both with replacement.

    A run of another seed and another set of problems would both change the number, so both are drawn. With
    few seeds such an interval is somewhat narrow (by a factor of about sqrt((S - 1) / S) in its part between
    seeds); the range over seeds stands beside it.

    Args:
        values: [seeds, problems], each problem's measurement under each seed.
        bounds: least and greatest possible measurement.

    Returns:
        None where the table is empty.
    """
    seeds, problems = values.shape
    if not values.size:
        return None
    rng = np.random.default_rng([SEED, seeds, problems])
    drawn_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES)
    drawn_problems = rng.multinomial(problems, np.full(problems, 1 / problems), size=RESAMPLES)
    draws = ((drawn_seeds @ values) * drawn_problems).sum(axis=1) / values.size
    if np.ptp(draws) < SAME:
        mean = float(values.mean())
        return SeedEstimate(Estimate(mean, *without_spread(mean, problems, bounds), problems), mean, mean)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    means = values.mean(axis=1)
    estimate = Estimate(float(values.mean()), float(low), float(high), problems)
    return SeedEstimate(estimate, float(means.min()), float(means.max()))


def table(rows: Sequence[Mapping[str, float]]) -> Array:
    """[seeds, problems] of the problems that every seed has, from one mapping (problem to value) a seed."""
    shared = sorted(set.intersection(*(set(row) for row in rows))) if rows else []
    return np.array([[row[problem] for problem in shared] for row in rows]).reshape(len(rows), len(shared))
