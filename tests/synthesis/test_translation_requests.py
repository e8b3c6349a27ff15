import json

import pytest

from lidr.synthesis.translation_requests import asks_for_translation
from tests.prompts.make import official


@pytest.mark.parametrize(
    "prompt",
    [
        "Translate the following phrase into French.\nI miss you",
        "Translates the sentence from German to English.\nEr mag Musik hören.",
        "Translate the following statement in Japanese\nShe is an excellent teacher",
        'translate "Let’s have fun. Now!" into Spanish',
        'Translate the sentence: "Je suis très content."',
        "Translate a sentence from one language to another.\nSentence: Je veux aller à la plage.",
        "Translate this into simplified Chinese, please.",
        "Stranslate the sentence to French\nI am happy",
        "Answer in German.",
        'How do you say "good evening" in French?',
        "Write a short poem about the sea in the Italian language.",
        "Write an English haiku about snow.",
        "Construct a valid Spanish sentence given the following words.\nWords: bailar",
        "What is the word for dog in Swahili?",
        "Give me a French translation of this text.",
        "Translation from Dutch to English.\nHij gaf haar een knuffel.",
    ],
)
def test_found(prompt):
    assert asks_for_translation(prompt, "en")


@pytest.mark.parametrize(
    "prompt",
    [
        "What countries speak Spanish?",
        "Describe the taste of Italian food.",
        "Explain the role of basil in Italian cuisine.",
        "Tell me why someone should learn Spanish?",
        "Create an introduction for a website on learning English.",
        "List differences between American and British English.",
        "Given a sentence, translate it into a mathematical equation.\nThe sum of two numbers is five.",
        "You are given a sentence in first-order logic. Translate it into natural language.",
        "Translate the natural language description into a Google Sheets formula.",
        "Write a review of a Chinese buffet in Chicago.",
        "Write a letter to my English teacher.",
        "How would I go about teaching my cat French?",
        "What is 3 + 4?",
        "",
    ],
)
def test_not_found(prompt):
    assert not asks_for_translation(prompt, "en")


def test_the_instruction_around_every_prompt_does_not_count():
    instruction = "Solve it. Answer in {language_name}.\n\n{prompt}"
    wrapped = "Solve it. Answer in English.\n\n{}"
    assert not asks_for_translation(wrapped.format("What is 3 + 4?"), "en", instruction)
    assert asks_for_translation(wrapped.format("Translate 'dog' into French."), "en", instruction)


def test_the_rules_know_english_alone():
    assert not asks_for_translation("Translate this sentence into French: Hola", "es")


def english(file):
    path = official() / "alpagasus" / "subset" / file / "en.jsonl"
    return {r["id"]: r["instruction"] for r in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def test_alpagasus():
    found = {
        int(identity.removeprefix("alpagasus-"))
        for file in ("id_0_1000", "id_1000_2000")
        for identity, prompt in english(file).items()
        if asks_for_translation(prompt, "en")
    }
    translations = {
        19,
        42,
        343,
        362,
        539,
        932,
        977,
        1036,
        1345,
        1387,
        1458,
        1608,
        1617,
        1634,
        1720,
        1750,
        1977,
    }
    in_a_named_language = {560, 990, 1093, 1785, 1925, 1954}
    assert found == translations | in_a_named_language
