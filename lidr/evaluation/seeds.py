"""Several seeds of one experiment: means over seeds, with an interval over seeds and problems together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
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


def over_seeds(values: Array, bounds: tuple[float, float] | None = RATE) -> SeedEstimate | None:
    """The mean of a table, and an interval by drawing its rows and its columns, both with replacement.

    A run of another seed and another set of problems would both change the number, so both are drawn. Of few
    seeds that differ much such an interval is too narrow, and of seeds that differ by nothing but the answers'
    own chance it is too wide (docs/evaluation.md measures both); the range over seeds stands beside it.

    Args:
        values: [seeds, problems], each problem's measurement under each seed.
        bounds: least and greatest possible measurement; None where it has none.

    Returns:
        None where the table is empty.
    """
    seeds, problems = values.shape
    if not values.size:
        return None
    drawn_seeds, drawn_problems = _draws(seeds, problems)
    draws = ((drawn_seeds @ values) * drawn_problems).sum(axis=1) / values.size
    if np.ptp(draws) < SAME:
        mean = float(values.mean())
        return SeedEstimate(Estimate(mean, *without_spread(mean, problems, bounds), problems), mean, mean)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    means = values.mean(axis=1)
    estimate = Estimate(float(values.mean()), float(low), float(high), problems)
    return SeedEstimate(estimate, float(means.min()), float(means.max()))


@lru_cache(maxsize=4)  # every language and metric of a group of runs has the same seeds and problems
def _draws(seeds: int, problems: int) -> tuple[Array, Array]:
    """How often each seed and each problem is drawn: [resamples, seeds] and [resamples, problems]."""
    rng = np.random.default_rng([SEED, seeds, problems])
    drawn = [rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES) for count in (seeds, problems)]
    return drawn[0].astype(np.float64), drawn[1].astype(np.float64)


def table(rows: Sequence[Mapping[str, float]]) -> Array:
    """[seeds, problems] of the problems that every seed has, from one mapping (problem to value) a seed."""
    shared = sorted(set.intersection(*(set(row) for row in rows))) if rows else []
    return np.array([[row[problem] for problem in shared] for row in rows]).reshape(len(rows), len(shared))
