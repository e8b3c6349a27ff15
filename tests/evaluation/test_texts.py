"""Features of texts and overlaps of prompts, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr.evaluation.overlap import Seen
from lidr.evaluation.texts import FEATURES, compressed, lexical_variety, sentence_length


def test_sentences_are_counted_in_every_script() -> None:
    assert sentence_length("One two three. Four five!") == 2.5
    assert sentence_length("3.5 apples cost two") == 4
    assert sentence_length("\u4f60\u597d\u3002\u518d\u89c1\u5427\u3002") == 2.5
    assert sentence_length("...") is None


def test_variety_is_of_windows_of_ten_words() -> None:
    assert lexical_variety("a " * 9) is None
    assert lexical_variety("a " * 20) == 1 / 10
    assert lexical_variety(" ".join(map(str, range(20)))) == 1.0
    assert lexical_variety("a b " * 15) == 2 / 10


def test_what_repeats_itself_deflates_better() -> None:
    assert compressed("") is None
    assert (compressed("ab" * 200) or 1) < 0.1 < (compressed("a quick brown fox jumps") or 0)


@given(st.text())
def test_every_feature_takes_every_text(text: str) -> None:
    for feature in FEATURES.values():
        value = feature(text)
        assert value is None or value >= 0


def test_overlaps_by_hand() -> None:
    trained = "The cat sat on the mat and it slept there all day"  # 12 words
    seen = Seen.of([trained])
    assert seen.overlaps("the CAT, sat on the mat and it slept there all day!") == {
        "overlap_exact": 1.0,
        "overlap_8": 1.0,
    }
    longer = seen.overlaps("Yesterday the cat sat on the mat and it ran far away from here")
    assert longer == {"overlap_exact": 0.0, "overlap_8": 1.0, "overlap_13": 0.0}
    assert seen.overlaps("one two three") == {"overlap_exact": 0.0}
    assert Seen.of([trained + " long"]).overlaps(trained + " long.")["overlap_13"] == 1.0


@given(st.lists(st.text(alphabet="abc \u4f60\u597d", min_size=1), min_size=1, max_size=5))
def test_a_text_that_was_trained_on_overlaps_wholly(texts: list[str]) -> None:
    seen = Seen.of(texts)
    assert all(set(seen.overlaps(text).values()) == {1.0} for text in texts)


def test_a_script_without_spaces_is_counted_in_letters() -> None:
    seen = Seen.of(["\u5c0f\u660e\u6709\u5341\u4e2a\u82f9\u679c\u5403\u4e86\u4e09\u4e2a"])
    found = seen.overlaps("\u6709\u5341\u4e2a\u82f9\u679c\u5403\u4e86\u4e09\u6839")
    assert found == {"overlap_exact": 0.0, "overlap_8": 1.0}
    assert found["overlap_8"] == pytest.approx(1.0)
