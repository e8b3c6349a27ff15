import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr.config import EnRejected, PairType
from lidr.synthesis.strategies import candidates
from tests.synthesis.make import config, group


def pairs(made, asks=False, seed=0, **changes):
    settings = config(**changes)
    return [c.pair() for c in candidates(made, settings.pairs, settings.languages, seed, asks)]


def described(found):
    return [(p.language, p.chosen_origin, p.chosen, p.rejected_origin, p.rejected) for p in found]


def test_nl_pairs_prefer_the_translated_dominant_answer():
    assert described(pairs(group(), types=(PairType.NL,))) == [
        ("es", "en->es", "Una manzana.", "es", "Una pera."),
        ("de", "en->de", "Ein Apfel.", "de", "Eine Birne."),
    ]


def test_prompts_are_the_pairs_languages_own():
    assert [p.prompt for p in pairs(group())] == ["Name a fruit.", "es: Name a fruit.", "de: Name a fruit."]


def test_the_dominant_language_comes_first():
    assert [p.language for p in pairs(group(), en_rejected=EnRejected.ALL)] == ["en", "en", "es", "de"]


def test_last():
    found = pairs(group(), types=(PairType.EN,), en_rejected=EnRejected.LAST)
    assert described(found) == [("en", "en", "An apple.", "de->en", "One pear.")]


def test_all():
    found = pairs(group(), types=(PairType.EN,), en_rejected=EnRejected.ALL)
    assert [(p.rejected_origin, p.rejected) for p in found] == [
        ("es->en", "A pear."),
        ("de->en", "One pear."),
    ]


def test_worst_is_least_like_the_chosen_answer():
    near, far = "An apple, red.", "Zzz qqq 77"
    for translations, origin in (
        ({("es", "en"): far, ("de", "en"): near}, "es->en"),
        ({("es", "en"): near, ("de", "en"): far}, "de->en"),
        ({("es", "en"): near, ("de", "en"): near}, "es->en"),
    ):
        made = group(translations=translations)
        found = pairs(made, types=(PairType.EN,), en_rejected=EnRejected.WORST)
        assert [p.rejected_origin for p in found] == [origin]


@pytest.mark.parametrize("choice", [EnRejected.RANDOM, EnRejected.WORST])
def test_drawn_languages_are_those_whose_translations_stand(choice):
    for failed, origin in ((("en", "de"), "es->en"), (("es", "en"), "de->en")):
        made = group(translations={failed: None})
        found = pairs(made, types=(PairType.EN,), en_rejected=choice)
        assert [p.rejected_origin for p in found] == [origin]


def drawn(identity, seed=0):
    return pairs(group(identity), seed=seed, types=(PairType.EN,), en_rejected=EnRejected.RANDOM)[
        0
    ].rejected_origin


@given(st.text(max_size=8), st.integers(0, 3))
def test_random_depends_on_seed_and_id_alone(identity, seed):
    def draw(code):
        return hashlib.sha256(f"{seed}\0{identity}\0{code}".encode()).digest()

    assert drawn(identity, seed) == f"{min(('es', 'de'), key=draw)}->en"


def test_random_draws_every_language_about_equally_and_differs_by_seed():
    counts = Counter(drawn(f"p{i}") for i in range(400))
    assert set(counts) == {"es->en", "de->en"}
    assert min(counts.values()) > 150
    assert [drawn(f"p{i}") for i in range(20)] != [drawn(f"p{i}", seed=1) for i in range(20)]


def test_a_translation_request_takes_the_dominant_answer_untranslated_and_keeps_its_en_pair():
    assert described(pairs(group(), asks=True)) == [
        ("en", "en", "An apple.", "de->en", "One pear."),
        ("es", "en", "An apple.", "es", "Una pera."),
        ("de", "en", "An apple.", "de", "Eine Birne."),
    ]


def test_worst_without_sacrebleu_says_what_to_install(monkeypatch):
    import sys

    from lidr.errors import LidrError
    from lidr.synthesis import chrf

    chrf._metric.cache_clear()
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.chrf", None)
    with pytest.raises(LidrError, match="pip install sacrebleu"):
        chrf.chrf("a", "b")
