from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidr.estimate.ranges import NOTHING, Range, around, total
from lidr.estimate.written import duration, ends, money, number, size

numbers = st.floats(0, 1e9)
ranges = st.lists(numbers, min_size=3, max_size=3).map(lambda n: Range(*sorted(n)))
NO_DRIFT = Range.exact(1)


@given(ranges, ranges, numbers)
@settings(deadline=None)
def test_low_expected_and_high_stay_in_order(a: Range, b: Range, limit: float) -> None:
    for found in (a + b, a * b, a * limit, a.at_most(limit), a.at_least(limit)):
        assert found.low <= found.expected <= found.high


def test_a_sum_with_something_unknown_is_unknown() -> None:
    assert total([Range(1, 2, 3), Range(10, 20, 30)]) == Range(11, 22, 33)
    assert total([Range(1, 2, 3), None]) is None
    assert total([]) == NOTHING


def test_a_mean_lies_within_two_standard_errors() -> None:
    # 2, 4, 6: mean 4, variance 4, standard error sqrt(4 / 3)
    found = around([2, 4, 6], NO_DRIFT)
    assert found.expected == 4
    assert found.high - 4 == pytest.approx(2 * (4 / 3) ** 0.5)
    assert around([5, 5], Range(0.5, 1, 2)) == Range(2.5, 5, 10)


def test_a_single_value_says_little() -> None:
    assert around([8], NO_DRIFT) == Range(0, 8, 16)


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (number, 0, "0"),
        (number, 9999, "9999"),
        (number, 12_345, "12.3k"),
        (number, 2_500_000, "2.5M"),
        (size, 999, "999 B"),
        (size, 123_456, "123 kB"),
        (size, 16e9, "16 GB"),
        (duration, 0.25, "0.2 s"),
        (duration, 75, "1.2 min"),
        (duration, 40_000, "11 h"),
        (money, 1234.5, "1,234.50"),
        (money, 0.01234, "0.0123"),
    ],
)
def test_numbers_are_written_short(write: object, value: float, text: str) -> None:
    assert write(value) == text  # type: ignore[operator]


def test_ends_are_written_where_they_differ() -> None:
    assert ends(None, number) == "unknown"
    assert ends(Range.exact(3), number) == "3"
    assert ends(Range(1, 2, 30_000), number) == "2 [1, 30k]"
    assert ends(Range(5, 60, 70), duration) == "1.0 min [5.0 s, 1.2 min]"
    assert ends(Range(5, 6, 70), duration) == "6.0 s [5.0 s, 1.2 min]"
    assert ends(Range(5, 6, 7), duration) == "6.0 [5.0, 7.0] s"
    assert ends(Range(12_345, 12_346, 12_347), number) == "12.3k"
