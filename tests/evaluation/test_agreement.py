"""Agreement statistics against the numbers of the papers that define them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr.evaluation.agreement import cohen_kappa, fleiss_kappa, interval, krippendorff_alpha, nominal

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section D: 4 observers, 12 units.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
# Fleiss (1971) as tabulated in Wikipedia's worked example: 10 items, 14 raters, 5 categories.
FLEISS = (
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
)


def test_cohen_by_hand() -> None:
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert cohen_kappa([*first, None, "yes"], [*second, "yes", None]) == pytest.approx(0.4)


def test_fleiss_as_published() -> None:
    rows = [[category for category, n in enumerate(counts) for _ in range(n)] for counts in FLEISS]
    assert fleiss_kappa(rows) == pytest.approx(0.210, abs=5e-4)
    assert fleiss_kappa([*rows, [None] * 14]) == fleiss_kappa(rows)


@pytest.mark.parametrize(("distance", "alpha"), [(nominal, 0.743), (interval, 0.849)])
def test_krippendorff_as_published(distance, alpha) -> None:  # type: ignore[no-untyped-def]
    rows = list(zip(*OBSERVERS, strict=True))
    assert krippendorff_alpha(rows, distance) == pytest.approx(alpha, abs=5e-4)


def test_two_judges_of_fleiss_who_rate_alike_often_are_near_cohen() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(3, size=4000)
    second = np.where(rng.random(4000) < 0.7, first, rng.integers(3, size=4000))
    rows = list(zip(first.tolist(), second.tolist(), strict=True))
    cohen = cohen_kappa(first.tolist(), second.tolist())
    assert cohen == pytest.approx(0.7, abs=0.03)
    assert fleiss_kappa(rows) == pytest.approx(cohen, abs=1e-3)
    assert krippendorff_alpha(rows, nominal) == pytest.approx(cohen, abs=1e-3)


@pytest.mark.parametrize("rows", [[], [(1, None)], [(None, None)], [(1, 1), (1, 1)]])
def test_nothing_to_agree_on(rows: list[tuple[int | None, int | None]]) -> None:
    assert cohen_kappa([a for a, _ in rows], [b for _, b in rows]) is None
    assert fleiss_kappa(rows) is None
    assert krippendorff_alpha(rows, nominal) is None


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=20))
def test_whole_agreement_is_one_and_nothing_exceeds_it(rows: list[list[int]]) -> None:
    for found in (fleiss_kappa(rows), krippendorff_alpha(rows, interval)):
        assert found is None or found <= 1 + 1e-12
    alike = [[row[0]] * 3 for row in rows]
    if len({row[0] for row in rows}) > 1:
        assert fleiss_kappa(alike) == pytest.approx(1)
        assert krippendorff_alpha(alike, nominal) == pytest.approx(1)
