"""Means with 95 % intervals by a bootstrap over clusters, the prompts or problems.

Answers to one problem in several languages, or by two models, are not independent: they share the problem.
So problems are drawn with replacement, each with all its answers, and every number of a table (a mean, a mean
over languages, a gap, a difference of two models) is a linear combination of ratios of cluster sums:

    theta = sum_g w_g * (sum_c S[c, g] / sum_c N[c, g])

with groups g (a language, or a language under one model) and clusters c.

The interval is the percentile one. BCa was weighed against it: these statistics are means, whose bootstrap
distribution has no bias to correct, its acceleration is nearly 0 from about 50 problems on, and it is
undefined exactly where rates sit at 0 or 1. There the resamples are all alike and say nothing, and an exact
bound takes over.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 4000
SEED = 20241014
RATE = (0.0, 1.0)
RATE_DIFFERENCE = (-1.0, 1.0)
_BLOCK_CELLS = 4_000_000
SAME = 1e-12

Array = NDArray[np.float64]


class Estimate(NamedTuple):
    """A value with its 95 % interval.

    value: None without any observation. low, high: None where no interval can be given. n: clusters.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


NOTHING = Estimate(None, None, None, 0)


@dataclass(frozen=True)
class Observation:
    """One measured value: of which cluster (problem), in which group (language, model)."""

    cluster: str
    group: Hashable
    value: float


def mean(observations: Iterable[Observation], *, bounds: tuple[float, float] | None = RATE) -> Estimate:
    """The mean of all observations, clustered; several of one cluster are not averaged first."""
    pooled = [Observation(o.cluster, "all", o.value) for o in observations]
    return combine(pooled, {"all": 1.0}, bounds=bounds)


def mean_of_groups(
    observations: Iterable[Observation],
    groups: Sequence[Hashable],
    *,
    bounds: tuple[float, float] | None = RATE,
) -> Estimate:
    """The unweighted mean of the groups' means; a cluster may lie in several groups."""
    return combine(observations, {g: 1.0 / len(groups) for g in groups}, bounds=bounds) if groups else NOTHING


def difference(
    after: Iterable[Observation],
    before: Iterable[Observation],
    weights: Mapping[Hashable, float],
    *,
    bounds: tuple[float, float] | None = RATE_DIFFERENCE,
) -> Estimate:
    """A weighted sum of group means after minus before, paired: both models answer each drawn cluster."""
    both = [Observation(o.cluster, (1, o.group), o.value) for o in after]
    both += [Observation(o.cluster, (0, o.group), o.value) for o in before]
    signed: dict[Hashable, float] = {}
    for group, weight in weights.items():
        signed[1, group], signed[0, group] = weight, -weight
    return combine(both, signed, bounds=bounds)


def combine(
    observations: Iterable[Observation],
    weights: Mapping[Hashable, float],
    *,
    bounds: tuple[float, float] | None,
) -> Estimate:
    """The weighted sum of group means, with its interval.

    Args:
        observations: those of other groups are passed over.
        weights: by group; each group needs an observation, or there is no estimate.
        bounds: least and greatest possible value of the statistic; None where it has none.
    """
    if not weights:
        return NOTHING
    sums, counts = _tabulate([o for o in observations if o.group in weights], list(weights))
    clusters = len(sums)
    if not clusters or not counts.sum(axis=0).all():
        return Estimate(None, None, None, 0)
    w = np.array(list(weights.values()))
    value = float((sums.sum(axis=0) / counts.sum(axis=0)) @ w)
    draws = _draw(sums, counts, w)
    if np.ptp(draws) < SAME:
        return Estimate(value, *without_spread(value, clusters, bounds), clusters)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), clusters)


def _tabulate(observations: Sequence[Observation], groups: Sequence[Hashable]) -> tuple[Array, Array]:
    """Sums S[c, g] and counts N[c, g]; clusters sorted, so that the order of the input does not matter."""
    row = {cluster: i for i, cluster in enumerate(sorted({o.cluster for o in observations}))}
    column = {group: i for i, group in enumerate(groups)}
    sums = np.zeros((len(row), len(groups)))
    counts = np.zeros_like(sums)
    where = (
        np.array([row[o.cluster] for o in observations], dtype=np.intp),
        np.array([column[o.group] for o in observations], dtype=np.intp),
    )
    np.add.at(sums, where, np.array([o.value for o in observations]))
    np.add.at(counts, where, 1.0)
    return sums, counts


def _draw(sums: Array, counts: Array, weights: Array) -> Array:
    """The statistic under each resample; one in which a group has no observation is left out."""
    found = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for times in resamples(len(sums)):
            found.append(((times @ sums) / (times @ counts)) @ weights)
    draws: Array = np.concatenate(found)
    return draws[np.isfinite(draws)]


def resamples(clusters: int) -> Iterable[NDArray[np.float32]]:
    """How often each cluster is drawn, resamples x clusters, in blocks that bound the memory."""
    rows = max(1, _BLOCK_CELLS // clusters)
    if rows >= RESAMPLES:
        yield _block(clusters, RESAMPLES, 0)
        return
    for number, start in enumerate(range(0, RESAMPLES, rows)):
        yield _count_draws(clusters, min(rows, RESAMPLES - start), number)


def _count_draws(clusters: int, rows: int, block: int) -> NDArray[np.float32]:
    rng = np.random.default_rng([SEED, clusters, block])
    drawn = rng.integers(clusters, size=(rows, clusters)) + clusters * np.arange(rows)[:, None]
    times = np.bincount(drawn.ravel(), minlength=rows * clusters)
    return times.reshape(rows, clusters).astype(np.float32)


# Every metric of a benchmark has the same problems: the draws are made once.
_block = lru_cache(maxsize=4)(_count_draws)


def without_spread(
    value: float, clusters: int, bounds: tuple[float, float] | None
) -> tuple[float | None, float | None]:
    """Bounds where every cluster says the same.

    A share p of clusters that differ stays unseen in n draws with probability (1 - p)^n, so p is at most
    1 - (alpha / 2)^(1 / n), and those may lie as far off as the bounds allow. For a rate of 0 or 1 this is
    the exact (Clopper-Pearson) interval.
    """
    if bounds is None:
        return (None, None) if clusters == 1 else (value, value)
    unseen = 1 - ((1 - CONFIDENCE) / 2) ** (1 / clusters)
    return value - unseen * (value - bounds[0]), value + unseen * (bounds[1] - value)
