from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr.compose import compose_judging
from lidr.config.judge_schema import JudgeConfig, Verdict
from lidr.judging.verdicts import Preference, first_wins, preference, rating
from lidr.records import Reply


def judge(verdict: str = "text", wording: str = "words") -> JudgeConfig:
    own = compose_judging(
        ["judge=[oracle]", f"judges.oracle.verdict={verdict}", f"wording@judges.oracle.wording={wording}"]
    )
    return own.judges["oracle"]


WORDS, SCORES, LABEL = judge(), judge("scores", "scores"), judge("logprobs", "label")


def reply(text: str, log_probs: dict[str, float] | None = None) -> Reply:
    return Reply("a#given", "0", text, "stop", 3, log_probs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is clear.\nVerdict: 1", 1.0),
        ("Verdict: 2", 0.0),
        ("verdict: TIE.", 0.5),
        ("**Verdict: 2**", 0.0),
        ("Verdict: **1**", 1.0),
        ("The first says 'Verdict: 2', but it is wrong. Verdict: 1", 1.0),
        ("Verdict: 12", None),
        ("Verdict: neither", None),
        ("1", None),
        ("", None),
    ],
)
def test_verdicts_in_words(text: str, expected: float | None) -> None:
    assert first_wins(reply(text), WORDS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Scores: 8, 7", 1.0),
        ("Scores: 6.5; 7", 0.0),
        ("Scores: 7, 7.0", 0.5),
        ("Scores: 8", None),
        ("Scores: 11, 3", None),
        ("Scores: 1, 2\nScores: 9, 2", 1.0),
    ],
)
def test_verdicts_by_scores(text: str, expected: float | None) -> None:
    assert first_wins(reply(text), SCORES) == expected


def test_verdicts_by_probabilities() -> None:
    assert first_wins(reply("1", {"1": math.log(0.6), "2": math.log(0.2)}), LABEL) == pytest.approx(0.75)
    assert first_wins(reply("1", {"1": math.log(0.6)}), LABEL) == 1.0
    assert first_wins(reply("1", {}), LABEL) is None
    assert first_wins(reply("1"), LABEL) is None


@pytest.mark.parametrize(
    ("given", "swapped", "value", "consistent"),
    [
        ("Verdict: 1", "Verdict: 2", 1.0, True),
        ("Verdict: 2", "Verdict: 1", 0.0, True),
        ("Verdict: 1", "Verdict: 1", 0.5, False),
        ("Verdict: tie", "Verdict: tie", 0.5, True),
        ("Verdict: tie", "Verdict: 2", 0.5, False),
        ("Verdict: 1", "none", None, None),
    ],
)
def test_both_orders(given: str, swapped: str, value: float | None, consistent: bool | None) -> None:
    found = preference(reply(given), reply(swapped), WORDS)
    assert (found.value, found.consistent) == (value, consistent)


def test_one_order_counts_as_it_is() -> None:
    assert preference(reply("Verdict: 2"), None, WORDS) == Preference(0.0, None, (0.0, None))


def test_probabilities_of_both_orders_are_averaged() -> None:
    given = reply("", {"1": math.log(0.9), "2": math.log(0.1)})
    swapped = reply("", {"1": math.log(0.6), "2": math.log(0.4)})
    found = preference(given, swapped, LABEL)
    assert found.value == pytest.approx((0.9 + 0.4) / 2)
    assert found.consistent is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Score: 7", 7.0),
        ("Good.\n**Score:** 8,5", 8.5),
        ("Score: 11", None),
        ("Score: -3", None),
        ("ten", None),
    ],
)
def test_ratings(text: str, expected: float | None) -> None:
    assert rating(reply(text), WORDS) == expected


@given(text=st.text(max_size=60))
def test_no_reply_is_too_odd(text: str) -> None:
    for own in (WORDS, SCORES, LABEL):
        assert first_wins(reply(text), own) in (None, 0.0, 0.5, 1.0)
        value = rating(reply(text), own)
        assert value is None or 0 <= value <= 10


def test_a_judge_without_ties_has_none() -> None:
    labels = replace(WORDS.wording.labels, tie=None)
    without = replace(WORDS, wording=replace(WORDS.wording, labels=labels))
    assert without.verdict is Verdict.TEXT
    assert first_wins(reply("Verdict: tie"), without) is None
