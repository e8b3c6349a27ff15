"""Exact checking of answers: the number after the last answer marker, in any of the languages."""

from __future__ import annotations

import re

_MARKERS = {
    "en": "answer",
    "es": "respuesta",
    "de": "antwort",
    "fr": "réponse",
    "ru": "ответ",
    "zh": "答案",
}
_NUMBER = r"\s{0,3}(-?[0-9]{1,9})(?![0-9])(?![.,][0-9])"


def _pattern(words: list[str]) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(words)})\s{{0,3}}[:：](?:{_NUMBER})?", re.IGNORECASE)


_ANY = _pattern(list(_MARKERS.values()))


def extract_number(text: str, language: str | None = None) -> int | None:
    """The number after the last answer marker of `text`, or None.

    Markers of every language count, so an answer that is right but off target is still read; with `language`
    only that language's marker counts. A last marker (word and colon) without a whole number gives None.
    """
    pattern = _ANY if language is None else _pattern([_MARKERS[language]])
    numbers = pattern.findall(text)
    return int(numbers[-1]) if numbers and numbers[-1] else None


def is_correct(answer: int, text: str) -> bool:
    """Whether `text` ends in `answer`, in whatever language."""
    return extract_number(text) == answer
