"""From what is known of answers to how long further ones will be."""

from __future__ import annotations

import pytest

from lidr.config import PromptFormat
from lidr.estimate import lengths
from lidr.estimate.lengths import Seen, Writing
from lidr.estimate.ranges import Range
from lidr.estimate.stored import StoredAnswers, StoredTranslations
from lidr.lab.world import problems, render_answer
from lidr.records import Prompt
from tests.prompts.make import config as prompts_config

PLAIN = Writing(characters=10, tokens=Range.exact(0.25), bytes=1.0)
CAP = 1000


def close(found: Range, *ends: float) -> bool:
    return (found.low, found.expected, found.high) == pytest.approx(ends, abs=1e-4)


def test_stored_answers_give_their_mean_and_a_margin_for_drift() -> None:
    stored = StoredAnswers(tokens=(11, 11, 11, 1000), whole=((40, 11), (40, 11), (40, 11)))
    found = lengths.from_stored(stored, PLAIN, 900)
    assert found.tokens == Range(0, (33 + 1000) / 4, 900)  # the mean's standard error is nearly the mean
    assert close(found.sent, 0.6, 0.75, 0.9375)
    assert close(found.characters, 32, 40, 50)
    assert found.writing.tokens == Range.exact(30 / 120)


def test_where_every_stored_answer_was_cut_none_is_translated() -> None:
    found = lengths.from_stored(StoredAnswers((5, 5), ()), PLAIN, CAP)
    assert found.sent == Range.exact(0)
    assert found.tokens == Range(4, 5, 6.25)


def test_assumed_lengths_follow_the_proportion_of_the_prompts() -> None:
    found = lengths.from_assumed(None, 0.5, PLAIN, CAP)
    assert found.tokens == Range(1 + 150 / 4, 1 + 600 / 4, CAP)
    assert found.sent == Range.exact(1)
    # 151 tokens are expected where 100 may be: 1 - exp(-100 / 151) of them end before
    assert close(lengths.from_assumed(None, 0.5, PLAIN, 100).sent, 0, 0.4843, 1)


def test_a_probe_that_saw_answers_end_gives_their_lengths() -> None:
    found = lengths.from_probe(Seen((100, 100), ended=1, limit=64), "es", 2.0, PLAIN, CAP, 2400)
    assert found is not None
    assert found.tokens == Range(1 + 160 / 4, 1 + 200 / 4, 1 + 250 / 4)
    assert found.basis == "the probe's answers"


def test_a_probe_whose_answers_ran_into_their_own_limit_says_all() -> None:
    seen = Seen((100, 300), ended=0.25, limit=64)
    assert lengths.from_probe(seen, "es", 1.0, PLAIN, CAP, 65) is None
    found = lengths.from_probe(seen, "es", 1.0, PLAIN, CAP, 64)
    assert found is not None
    assert close(found.sent, 0.2, 0.25, 0.3125)
    assert found.tokens.expected == 1 + 200 / 4


def test_a_language_that_the_probe_asked_often_has_its_own_length() -> None:
    often, once = StoredAnswers((11,) * 5, ((44, 11),) * 5), StoredAnswers((99,), ((300, 99),))
    seen = Seen((100, 100), ended=1, limit=64, by_language={"es": often, "de": once})
    own = lengths.from_probe(seen, "es", 1.0, PLAIN, CAP, 2400)
    assert own is not None
    assert close(own.tokens, 8.8, 11, 13.75)
    assert own.basis == "the probe's answers"
    for other in ("de", "ru"):
        found = lengths.from_probe(seen, other, 1.0, PLAIN, CAP, 2400)
        assert found is not None
        assert found.tokens.expected == 1 + 100 / 4


def test_a_probe_that_cut_few_answers_off_spreads_them_over_those_that_ended() -> None:
    found = lengths.from_probe(Seen((100, 100, 100, 100), ended=0.8, limit=64), "es", 1.0, PLAIN, CAP, 2400)
    assert found is not None
    assert close(found.tokens, 1 + 80 / 4, 1 + 125 / 4, CAP)
    assert close(found.sent, 0.64, 1, 1)


def test_a_probe_that_cut_most_answers_off_says_how_long_they_are_at_least() -> None:
    seen = Seen((2000, 2000), ended=0, limit=64)
    assert lengths.from_probe(seen, "es", 1.0, PLAIN, CAP, 2400) is None
    assert lengths.from_probe(Seen((), ended=0, limit=64), "es", 1.0, PLAIN, CAP, 2400) is None
    found = lengths.from_assumed(seen, 1.0, PLAIN, CAP)
    assert found.tokens.low == found.tokens.expected == 1 + 2000 / 4


def test_the_lab_knows_its_solutions() -> None:
    from lidr.estimate.counting import counter_of
    from tests.estimate.test_files import named

    lab = named("builtin:lab")
    some = problems("train")[:5]
    asked = [Prompt(p.id, "de", "x") for p in some]
    config = prompts_config(None, format=PromptFormat.LAB)
    texts = lengths.solutions(asked, config, lab)
    assert texts == [render_answer(p, "de") for p in some]
    found = lengths.from_solutions(texts, PLAIN, counter_of(lab), 64)
    assert found.tokens.expected == counter_of(lab).texts(texts).expected / 5 + 1
    assert found.tokens.high == 64
    assert lengths.solutions(asked, config, named("other")) == []
    assert lengths.solutions(asked, prompts_config(None), lab) == []


def test_a_translation_is_as_long_as_its_direction_was_before() -> None:
    stored = StoredTranslations((1.5, 1.5), cut=0.5, stands=0.5)
    text, cut = lengths.translation_characters(Range.exact(100), stored, 9.0)
    assert close(text, 120, 150, 187.5)
    assert close(cut, 0.4, 0.5, 0.625)
    assert close(lengths.translated_share(stored), 0.4, 0.5, 0.625)
    # half ends after 150, half runs on to 400
    assert lengths.mixed(cut, text, 400).expected == 275


def test_without_stored_translations_the_worst_is_that_all_run_on() -> None:
    text, cut = lengths.translation_characters(Range.exact(100), None, 1.2)
    assert text == Range.exact(120)
    assert lengths.mixed(cut, text, 400) == Range(120, 120, 400)


def test_proportions_refer_to_english_or_else_to_the_dominant_language() -> None:
    def written(**characters: float) -> dict[str, Writing]:
        return {code: Writing(n, Range.exact(1), 1) for code, n in characters.items()}

    assert lengths.verbosities(written(de=30, en=20), "de") == {"de": 1.5, "en": 1.0}
    assert lengths.verbosities(written(de=30, ru=20), "de") == {"de": 1.0, "ru": 20 / 30}
    assert lengths.verbosities(written(zh=5), "de") == {"zh": 1.0}
