"""Tests of differences: paired permutation by problem, and a correction for several of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lidr.evaluation.statistics import SEED, Array, Observation

PERMUTATIONS = 9999
_SAME = 1e-5  # of the observed sum: sums of the same numbers in single precision, in another order
_EXACT = 13  # problems up to which all sign patterns are tried


def permutation_test(
    after: Iterable[Observation], before: Iterable[Observation], weights: Mapping[Hashable, float]
) -> float | None:
    """Two-sided p-value of the weighted sum of group means after minus before.

    Under the null hypothesis the two models' answers to a problem are exchangeable: for each problem, all its answers
    in all languages together, it is drawn whether they are exchanged. All patterns are tried for up to 13 problems,
    9,999 random ones otherwise, the observed one counted among them (Phipson and Smyth 2010).

    Args:
        after, before: of the same problems and groups; what only one of them has is left out.
        weights: by group.

    Returns:
        None where they share no problem.
    """
    differences = _by_problem(after, before, weights)
    if not len(differences):
        return None
    largest = float(np.abs(differences).max())
    if not largest:
        return 1.0
    differences /= largest
    observed, signs = abs(float(differences.sum())), _signs(len(differences))
    drawn = np.abs(signs @ differences.astype(np.float32))
    hits = int((drawn >= observed - _SAME * max(1.0, observed)).sum())
    exact = len(differences) <= _EXACT
    return hits / len(signs) if exact else (hits + 1) / (len(signs) + 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values adjusted so that the chance of any false rejection among them stays at its level (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        adjusted[index] = highest
    return adjusted


def _by_problem(
    after: Iterable[Observation], before: Iterable[Observation], weights: Mapping[Hashable, float]
) -> Array:
    """What each problem adds to the statistic; problems sorted, so that the order of the input does not matter."""
    values: dict[tuple[str, Hashable], dict[int, list[float]]] = {}
    for side, observations in ((1, after), (-1, before)):
        for o in observations:
            if o.group in weights:
                values.setdefault((o.cluster, o.group), {}).setdefault(side, []).append(o.value)
    both = {key: sides for key, sides in values.items() if len(sides) == 2}
    counts: dict[Hashable, int] = {}
    for _, group in both:
        counts[group] = counts.get(group, 0) + 1
    found: dict[str, float] = {}
    for (cluster, group), sides in both.items():
        change = sum(side * sum(own) / len(own) for side, own in sides.items())
        found[cluster] = found.get(cluster, 0.0) + weights[group] * change / counts[group]
    return np.array([found[cluster] for cluster in sorted(found)])


@lru_cache(maxsize=2)  # every language and metric of a benchmark has the same problems
def _signs(problems: int) -> NDArray[np.float32]:
    """[patterns, problems] of +1 and -1."""
    if problems <= _EXACT:
        bits = (np.arange(2**problems)[:, None] >> np.arange(problems)) & 1
    else:
        bits = np.random.default_rng([SEED, problems]).integers(
            2, size=(PERMUTATIONS, problems), dtype=np.int8
        )
    return (2 * bits - 1).astype(np.float32)
