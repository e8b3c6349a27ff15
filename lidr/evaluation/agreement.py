"""Agreement of judges beyond chance: Cohen's and Fleiss' kappa, Krippendorff's alpha.

A table of ratings is [items, judges]; None where a judge gave no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

Rating = Hashable | None
Distance = Callable[[float, float], float]


def cohen_kappa(first: Sequence[Rating], second: Sequence[Rating]) -> float | None:
    """(observed - expected agreement) / (1 - expected) of two judges on the items both rated (Cohen 1960).

    Returns:
        None where no item has both ratings, or where both judges gave one and the same rating to all.
    """
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not both:
        return None
    n = len(both)
    observed = sum(a == b for a, b in both) / n
    categories = {rating for pair in both for rating in pair}
    shares = [(sum(a == c for a, _ in both) / n, sum(b == c for _, b in both) / n) for c in categories]
    return _beyond_chance(observed, sum(a * b for a, b in shares))


def fleiss_kappa(ratings: Sequence[Sequence[Rating]]) -> float | None:
    """Kappa of several judges on the items all of them rated (Fleiss 1971); None as in `cohen_kappa`."""
    complete = [row for row in ratings if len(row) > 1 and None not in row]
    if not complete:
        return None
    judges = len(complete[0])
    categories = sorted({r for row in complete for r in row}, key=repr)
    counts = np.array([[row.count(c) for c in categories] for row in map(list, complete)], dtype=float)
    observed = float(((counts**2).sum(1) - judges).mean() / (judges * (judges - 1)))
    expected = float(((counts.sum(0) / counts.sum()) ** 2).sum())
    return _beyond_chance(observed, expected)


def krippendorff_alpha(ratings: Sequence[Sequence[float | None]], distance: Distance) -> float | None:
    """1 - observed / expected disagreement, with missing ratings (Krippendorff 2011, "Computing").

    Args:
        distance: of two ratings, squared already: `nominal` or `interval`.

    Returns:
        None without an item that two judges rated, or where all ratings are alike.
    """
    rows = [[r for r in row if r is not None] for row in ratings]
    rows = [row for row in rows if len(row) > 1]
    values = sorted({r for row in rows for r in row})
    if len(values) < 2:
        return None
    index = {value: i for i, value in enumerate(values)}
    coincidences = np.zeros((len(values), len(values)))
    for row in rows:
        counts = np.bincount([index[r] for r in row], minlength=len(values)).astype(float)
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(row) - 1)
    distances = np.array([[distance(a, b) for b in values] for a in values])
    totals = coincidences.sum(1)
    n = totals.sum()
    expected = (np.outer(totals, totals) * distances).sum() / (n - 1)
    return float(1 - (coincidences * distances).sum() / expected)


def nominal(first: float, second: float) -> float:
    """Alike or not."""
    return float(first != second)


def interval(first: float, second: float) -> float:
    """Squared difference."""
    return (first - second) ** 2


def _beyond_chance(observed: float, expected: float) -> float | None:
    return None if expected >= 1 else (observed - expected) / (1 - expected)
