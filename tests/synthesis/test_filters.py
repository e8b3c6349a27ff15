import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr.config import PairType
from lidr.synthesis.filters import Filters, Reason, repeated_share
from lidr.synthesis.strategies import candidates
from tests.synthesis.make import SWITCHES, config, group

LONG = {
    "en": "The farmer has three red apples in his basket today.",
    "es": "El granjero tiene hoy tres manzanas rojas en su cesta.",
    "de": "Der Bauer hat heute drei rote Äpfel in seinem Korb.",
}
LONG_TRANSLATIONS = {
    ("en", "es"): "El agricultor tiene hoy tres manzanas rojas en la canasta.",
    ("es", "en"): "The farmer today has three red apples in the basket.",
    ("en", "de"): "Der Landwirt hat heute drei rote Äpfel im Korb.",
    ("de", "en"): "Today the farmer has three red apples in his basket.",
}


def reasons(made, asks=False, **filters):
    """What became of (en, es, de)."""
    settings = config(**filters)
    judge = Filters(settings.pairs.filters, settings.languages).judge
    found = candidates(made, settings.pairs, settings.languages, 0, asks)
    return [judge(c).dropped for c in found]


def test_nothing_is_dropped_with_all_filters_off():
    assert reasons(group(answers={"en": "", "es": " "}, cut=("de",))) == [None, None, None]


def test_empty():
    assert reasons(group(answers={"es": " \n"}), empty=True) == [None, Reason.EMPTY, None]
    assert reasons(group(answers={"en": ""}), empty=True) == [Reason.EMPTY] * 3


def test_truncated():
    assert reasons(group(cut=("es",)), truncated=True) == [None, Reason.TRUNCATED, None]
    assert reasons(group(cut=("de",)), truncated=True) == [Reason.TRUNCATED, None, Reason.TRUNCATED]
    assert reasons(group(cut=("en",)), truncated=True) == [Reason.TRUNCATED] * 3


@pytest.mark.parametrize("failed", [("en", "de"), ("de", "en")])
def test_a_translation_error_in_either_direction_drops_both_types(failed):
    made = group(translations={failed: None})
    assert reasons(made, translation_error=True) == [Reason.TRANSLATION_ERROR, None, Reason.TRANSLATION_ERROR]


def test_without_the_filter_only_a_missing_text_drops():
    assert reasons(group(translations={("en", "de"): None})) == [None, None, Reason.TRANSLATION_ERROR]
    assert reasons(group(translations={("de", "en"): None})) == [Reason.TRANSLATION_ERROR, None, None]


def test_incomplete_group_drops_the_prompt_everywhere():
    made = group(translations={("es", "en"): None})
    both = {"translation_error": True, "translation_incomplete_group": True}
    assert reasons(made, **both) == [
        Reason.TRANSLATION_INCOMPLETE_GROUP,
        Reason.TRANSLATION_ERROR,
        Reason.TRANSLATION_INCOMPLETE_GROUP,
    ]
    assert reasons(group(), **both) == [None, None, None]


def test_identical():
    made = group(translations={("en", "es"): " Una pera.\n"})
    assert reasons(made, identical=True) == [None, Reason.IDENTICAL, None]


def test_repetition_looks_at_the_chosen_answer():
    loop = "and so it goes on " * 20
    assert reasons(group(translations={("en", "es"): loop}), repetition=True) == [
        None,
        Reason.REPETITION,
        None,
    ]
    assert reasons(group(answers={"es": loop}), repetition=True) == [None, None, None]
    strict = {"repetition": True, "repetition_max_share": 1.0}
    assert reasons(group(translations={("en", "es"): loop}), **strict) == [None, None, None]


def test_off_target_chosen():
    made = group(answers=LONG, translations={**LONG_TRANSLATIONS, ("en", "es"): LONG["en"]})
    assert reasons(made, off_target_chosen=True) == [None, Reason.OFF_TARGET_CHOSEN, None]
    assert reasons(made) == [None, None, None]


def test_an_undetermined_language_is_kept():
    assert reasons(group(translations={("en", "es"): "42"}), off_target_chosen=True) == [None, None, None]


def test_translation_requests_are_not_held_to_a_language():
    made = group(answers=LONG, translations=LONG_TRANSLATIONS)
    assert reasons(made, asks=True, off_target_chosen=True) == [None, None, None]


def test_the_first_reason_counts():
    everything = dict.fromkeys(SWITCHES, True)
    made = group(answers={"es": ""}, translations={("es", "en"): None, ("en", "es"): None}, cut=("es",))
    assert reasons(made, types=(PairType.NL,), **everything) == [
        Reason.EMPTY,
        Reason.TRANSLATION_INCOMPLETE_GROUP,
    ]


def test_both_texts_are_measured_even_with_the_filter_off():
    settings = config(types=(PairType.NL,))
    made = group(answers={**LONG, "es": LONG["en"]}, translations=LONG_TRANSLATIONS)
    found = candidates(made, settings.pairs, settings.languages, 0, False)
    verdicts = [Filters(settings.pairs.filters, settings.languages).judge(c) for c in found]
    assert [(v.measured, v.chosen_on_target, v.rejected_on_target) for v in verdicts] == [
        (True, True, False),
        (True, True, True),
    ]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("one two three", 0.0),
        ("a b c d a b c d", 0.0),  # twice is no loop
        ("a b c d " * 3, 1.0),
        ("ja " * 6, 1.0),
        ("x y z " + "a b c d " * 3, 12 / 15),
        ("Ana has Ana has Ana has Ana has", 1.0),
        ("他有三个苹果和两个梨在篮子里面" * 6, 1.0),
        ("他有三个苹果，她有三个苹果，我有三个苹果，你有三个苹果。", 0.0),
    ],
)
def test_repeated_share_by_hand(text, share):
    assert repeated_share(text) == pytest.approx(share)


@given(st.text(max_size=60))
def test_repeated_share_is_a_share(text):
    assert 0 <= repeated_share(text) <= 1


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=6), st.integers(12, 20))
def test_a_loop_scores_near_one(words, times):
    assert repeated_share(" ".join(words * times)) == 1
