"""Answers are read in every language, and malformed ones are not."""

import pytest

from lidr.lab.checks import extract_number, is_correct
from lidr.lab.world import LANGUAGES, problems, render_answer


@pytest.mark.parametrize("language", LANGUAGES)
def test_correct_answers_are_read(language: str) -> None:
    for problem in problems("test"):
        text = render_answer(problem, language)
        assert extract_number(text) == extract_number(text, language) == problem.answer
        assert is_correct(problem.answer, text)
        assert not is_correct(problem.answer + 1, text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", None),
        ("19", None),
        ("Answer 19", None),
        ("Answer:", None),
        ("Answer: nineteen", None),
        ("Answer: 19", 19),
        ("answer :19", 19),
        ("ANSWER: -4", -4),
        ("答案：19。", 19),
        ("答案: 19", 19),
        ("Ответ: 19 яблок", 19),
        ("Réponse : 19", 19),
        ("Réponse\u00a0: 19", 19),
        ("Answer: 3\nAnswer: 19.", 19),
        ("Respuesta: 3\nAnswer: 19", 19),
        ("Answer: 19\nAnswer: ?", None),
        ("Answer: 1.5", None),
        ("Answer: 1,500", None),
        ("Answer: 12345678901", None),
        ("Answer: ١٩", None),
    ],
)
def test_malformed_texts(text: str, number: int | None) -> None:
    assert extract_number(text) == number


def test_a_language_limits_the_markers() -> None:
    assert extract_number("Answer: 19", "es") is None
    assert extract_number("Respuesta: 7\nAnswer: 19", "es") == 7
