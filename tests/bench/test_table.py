"""Ratios, medians and the last line, by numbers worked out by hand."""

import pytest

from experiments.bench import table
from experiments.bench.spec import Measured, counted


def measured(seconds: float, reference: float = 0.0, peak: int = 100, pairs: int = 8) -> Measured:
    return Measured(seconds, reference, [seconds / 2] * 2, pairs, 1000, peak, None)


ROUNDS = [
    {
        "trl-default": measured(30, peak=400),
        "trl-tuned": measured(20, peak=500),
        "lidr": measured(10, 5, peak=200),
    },
    {
        "trl-default": measured(40, peak=500),
        "trl-tuned": measured(24, peak=400),
        "lidr": measured(10, 10, peak=300),
    },
    {
        "trl-default": measured(44, peak=400),
        "trl-tuned": measured(18, peak=800),
        "lidr": measured(12, 8, peak=100),
    },
]


def test_ratios_are_per_round() -> None:
    with_reference = table.speed_ratios(ROUNDS, "lidr", "trl-default", with_reference=True)
    assert with_reference == pytest.approx([30 / 15, 40 / 20, 44 / 20])
    assert table.speed_ratios(ROUNDS, "lidr", "trl-tuned", with_reference=False) == pytest.approx(
        [2.0, 2.4, 1.5]
    )


def test_memory_is_against_the_smaller_peer_of_a_round() -> None:
    ratios = table.memory_ratios(ROUNDS, "lidr", ["trl-default", "trl-tuned"])
    assert ratios == pytest.approx([200 / 400, 300 / 400, 100 / 400])


def test_spread_of_five_rounds() -> None:
    found = table.spread([2.0, 5.0, 3.0, 1.0, 4.0])
    assert found is not None
    assert (found.median, found.low, found.high, found.quartiles) == (3.0, 1.0, 5.0, (2.0, 4.0))
    assert str(found) == "3.00  (1.00..5.00, quartiles 2.00 4.00)"


def test_a_round_without_a_run_is_left_out() -> None:
    rounds = [*ROUNDS[:2], {"lidr": measured(10)}]
    assert len(table.speed_ratios(rounds, "lidr", "trl-tuned", with_reference=False)) == 2
    assert table.spread([]) is None


def test_last_line() -> None:
    line = table.last_line({"smollm2-bf16": ROUNDS, "lab-fp32": ROUNDS[:1]})
    assert line == "bench-train: default=2.00 tuned=2.00 memory=0.50"


def test_last_line_without_the_headline_case() -> None:
    assert table.last_line({"lab-fp32": ROUNDS}) == "bench-train: default=n/a tuned=n/a memory=n/a"


def test_the_table_names_every_contestant_and_both_clocks() -> None:
    text = "\n".join(table.case_table("smollm2-bf16", ROUNDS))
    for name in ("trl-default", "trl-tuned", "lidr ", "lidr + reference", "memory lidr / smaller"):
        assert name in text
    lidr = next(line for line in text.splitlines() if line.startswith("lidr  "))
    assert lidr.split() == ["lidr", "0.800", "100", "5.00", "0.00", "3"]  # 8 pairs and 1000 tokens in 10 s


def test_counted_steps() -> None:
    assert counted(1.0, [3.0, 4.0, 6.0], 0) == [2.0, 1.0, 2.0]
    assert counted(1.0, [3.0, 4.0, 6.0], 2) == [2.0]
