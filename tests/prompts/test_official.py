"""The presets against the paper's released files, where these are at hand."""

import dataclasses

import pytest

from lidr.compose import compose_run
from lidr.config import PromptSchedule, PromptsConfig
from lidr.errors import LidrError
from lidr.prompts import load, select
from tests.prompts.make import official

ELEVEN = ("en", "ar", "de", "es", "fr", "it", "ja", "ko", "ru", "th", "zh")
MGSM = ("en", "bn", "de", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")
FIVE = ("en", "es", "ru", "de", "fr")


def preset(name: str) -> PromptsConfig:
    return compose_run([f"prompts={name}", f"paths.data={official()}"]).prompts


@pytest.mark.parametrize(
    ("name", "languages", "count"),
    [("alpagasus", ELEVEN, 2000), ("gsm8k", FIVE, 7473), ("mgsm", MGSM, 250), ("x_alpacaeval", ELEVEN, 805)],
)
def test_every_set_is_whole_in_every_language(name, languages, count):
    aligned = load(preset(name), languages)
    assert len(aligned) == count
    assert aligned.report.dropped == 0
    found = {r.language: (r.total, r.complete) for r in aligned.report.languages}
    assert found == dict.fromkeys(languages, (count, True))


def test_alpagasus_iterations_take_the_two_subsets():
    settings = preset("alpagasus")
    aligned = load(settings, FIVE)
    for iteration, first in ((1, 0), (2, 1000)):
        chosen = select(aligned, settings, PromptSchedule.FRESH, iteration, seed=0)
        assert [p.id for p in chosen["fr"]] == [f"alpagasus-{i}" for i in range(first, first + 1000)]
    with pytest.raises(LidrError, match="has 2000 prompts, 3000 are needed"):
        select(aligned, settings, PromptSchedule.FRESH, 3, seed=0)


def test_one_russian_text_stands_under_two_ids_and_both_stay():
    by_text: dict[str, list[str]] = {}
    for prompt in load(preset("alpagasus"), ("en", "ru")).by_language["ru"]:
        by_text.setdefault(prompt.prompt, []).append(prompt.id)
    assert [ids for ids in by_text.values() if len(ids) > 1] != []


def test_gsm8k_names_the_answers_language_and_keeps_the_answer():
    settings = preset("gsm8k")
    first = load(settings, FIVE).by_language["de"][0]
    assert (first.id, first.answer) == ("gsm8k_0", "72")
    assert "in German" in first.prompt
    assert first.prompt.endswith("Wie viele Clips verkaufte Natalia insgesamt im April und Mai?")


def test_gsm8k_test_split():
    settings = dataclasses.replace(preset("gsm8k"), files=("gsm8k/test/{language}_gsm8k.jsonl",))
    aligned = load(settings, FIVE)
    assert len(aligned) == 1319
    assert aligned.by_language["ru"][0].id == "gsm8k_test_0"


def test_mgsm_answers_are_the_same_in_every_language():
    aligned = load(preset("mgsm"), MGSM)
    answers = {tuple(p.answer for p in prompts) for prompts in aligned.by_language.values()}
    assert len(answers) == 1


def test_a_language_that_is_not_there_names_those_that_are():
    with pytest.raises(LidrError, match=r"'cs' .*languages there: de, en, es, fr, ru"):
        load(preset("gsm8k"), ("en", "cs"))
