from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr.report.page.selection import Selection, rank, shares


@dataclass
class Weights:
    parts: list[tuple[int, int]] = field(default_factory=list)

    @property
    def records(self) -> int:
        return sum(records for records, _ in self.parts)

    @property
    def size(self) -> int:
        return sum(size for _, size in self.parts)


def select(items: list[tuple[str, int, int]], records: int, size: int) -> dict[str, Weights]:
    selection = Selection(Weights, records, size)
    for identity, n, weight in items:
        wanted = selection.wants(identity)
        selection.add(identity, lambda w, n=n, weight=weight: w.parts.append((n, weight)))  # type: ignore[misc]
        assert wanted or identity not in selection.kept
        assert selection.records <= records
        assert selection.size <= size
    return selection.kept


ITEMS = st.lists(st.tuples(st.integers(0, 25).map(str), st.integers(0, 4), st.integers(0, 50)), max_size=60)


@given(ITEMS, st.integers(0, 60), st.integers(0, 600), st.randoms(use_true_random=False))
def test_what_is_kept_is_the_beginning_by_rank_that_fits_in_whatever_order(
    items: list[tuple[str, int, int]], records: int, size: int, order: random.Random
) -> None:
    expected, used = set(), [0, 0]
    for identity in sorted({i for i, _, _ in items}, key=rank):
        used[0] += sum(n for i, n, _ in items if i == identity)
        used[1] += sum(weight for i, _, weight in items if i == identity)
        if used[0] > records or used[1] > size:
            break
        expected.add(identity)
    kept = select(items, records, size)
    assert set(kept) == expected
    shuffled = list(items)
    order.shuffle(shuffled)
    assert {i: (w.records, w.size) for i, w in select(shuffled, records, size).items()} == {
        i: (w.records, w.size) for i, w in kept.items()
    }


def test_what_is_kept_stands_in_the_files_order() -> None:
    ids = [f"prompt-{n}" for n in range(200)]
    kept = list(select([(i, 1, 1) for i in ids], 40, 1000))
    assert kept == sorted(kept, key=ids.index)
    assert len(kept) == 40
    assert max(map(ids.index, kept)) > 150


def test_a_rank_needs_no_valid_text() -> None:
    assert rank("\ud800") != rank("\ud801")


@pytest.mark.parametrize(
    ("needs", "total", "given_"),
    [
        ([10, 10], 10, [5, 5]),
        ([2, 100], 10, [2, 8]),
        ([1, 1, 1], 30, [10, 10, 10]),
        ([], 5, []),
        ([7], 3, [3]),
    ],
)
def test_shares(needs: list[int], total: int, given_: list[int]) -> None:
    assert shares(needs, total) == given_


@given(st.lists(st.integers(0, 1000), max_size=12), st.integers(0, 5000))
def test_shares_never_exceed_the_total_and_meet_needs_where_they_can(needs: list[int], total: int) -> None:
    found = shares(needs, total)
    assert sum(found) <= total
    if sum(needs) <= total:
        assert all(share >= need for share, need in zip(found, needs, strict=True))
