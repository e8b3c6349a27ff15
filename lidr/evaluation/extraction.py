"""The final number of a worked answer, in the languages of MGSM and a few more.

In this order, the last occurrence first: what stands in ``\\boxed{}`` or behind ``####``; what stands behind the
language's own words for "answer" or "result", English ones too, since models fall back on them; the last number of the
text, list marks left out. Nothing of it is tuned to a model or to the reference answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from lidr.evaluation.numbers import Found, cjk_number, normalised, numbers

# Words that announce a result, as regular expressions; "as a result" and headings announce none.
_WORDS: dict[str, str] = {
    "ar": "الإجابة|الجواب|النتيجة|الناتج",
    "bn": "উত্তর|ফলাফল",
    "de": "antwort|ergebnis|resultat",
    "en": r"answer|result(?=s?\s*(?:is\b|are\b|[:=]))",
    "es": "respuesta|(?<!como )resultado",
    "fr": "réponse|résultat",
    "it": "risposta|risultato",
    "ja": r"答え|解答|回答|答|結果(?=\s*[は:=])",
    "ko": r"답|결과(?=\s*[는:=])",
    "pt": "resposta|(?<!como )resultado",
    "ru": "ответ|результат(?!е)|итого",
    "sw": "jibu|jawabu|matokeo",
    "te": "సమాధాన|జవాబు|ఫలిత",
    "th": "คำตอบ|ผลลัพธ์|ตอบ",
    "zh": r"答案|答|[结結]果(?=\s*[是为為:=])",
}
_CJK_LANGUAGES = ("ja", "zh")
_TAIL = 3  # lines at the end of an answer in which its result is announced
_NEAR = 120  # characters behind the word
_BOXED = re.compile(r"\\boxed\s*\{")
_HASHES = re.compile(r"####\s*([^\n]+)")
_LIST_MARK = re.compile(r"(?m)^[ \t]*(?:[-*•][ \t]+)?\(?\d{1,2}[.)、][ \t]+(?=\S)")
_EMPHASIS = re.compile(r"\*\*|__|\*|`")
_LATEX = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox)\s*\{([^{}]*)\}")
_LATEX_SPACE = re.compile(r"\\[,;:!> ]|\\quad|\{,\}|~")
_LATEX_SIGNS = {r"\times": "×", r"\cdot": "·", r"\div": "÷", r"\$": "$", r"\%": "%"}
_CHAIN = re.compile(r"[\d\s.,'()+\-*/×÷·$€£¥₹%=]*=")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\s*\{\s*(\d{1,300})\s*\}\s*\{\s*(\d{1,300})\s*\}")
_BOXES = 50  # the last ones
_LONGEST = 500  # characters of a box, and of what stands behind a word, that are looked at


class Extracted(NamedTuple):
    """A final number and the rule that found it: boxed, hashes, word or last."""

    value: Fraction
    rule: str


def extract(text: str, language: str) -> Extracted | None:
    """The final number of an answer, or None where it holds none.

    >>> extract("Sie verdient also 1.450,50 Euro am Tag. Antwort: 18 Eier.", "de").value
    Fraction(18, 1)
    """
    text = _plain(normalised(text))
    announced = {"boxed": _boxed(text), "hashes": _hashes(text), "word": _behind_words(text, language)}
    for rule, passages in announced.items():
        for passage in passages:
            value = _result(passage, language, written_out=rule == "word")
            if value is not None:
                return Extracted(value, rule)
    value = _last(text, language)
    return None if value is None else Extracted(value, "last")


def reference(text: str) -> Fraction:
    """A reference answer: digits, with commas between thousands.

    Raises:
        ValueError: it is no number.
    """
    found = list(numbers(normalised(text), "en"))
    if len(found) != 1:
        raise ValueError(f"{text!r} is no number")
    return found[0].value


def _plain(text: str) -> str:
    """Without emphasis and LaTeX spacing; text commands keep their text."""
    text = _LATEX_SPACE.sub(lambda m: "," if m[0] == "{,}" else " ", _EMPHASIS.sub("", text))
    for command, sign in _LATEX_SIGNS.items():
        text = text.replace(command, sign)
    return _LATEX.sub(r" \1 ", text)


def _boxed(text: str) -> Iterator[str]:
    """The contents of boxes, the last one first; one that is cut off counts to the end of its line."""
    for match in reversed(list(_BOXED.finditer(text))[-_BOXES:]):
        depth, end = 1, match.end()
        while end < min(len(text), match.end() + _LONGEST) and depth and text[end] != "\n":
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        yield text[match.end() : end - (depth == 0)]


def _hashes(text: str) -> Iterator[str]:
    yield from (match[1] for match in reversed(list(_HASHES.finditer(text))))


def _behind_words(text: str, language: str) -> Iterator[str]:
    """What follows the words for a result: the rest of the line, or the next line where there is nothing."""
    lines = [line for line in text.splitlines() if line.strip()]
    tail = "\n".join(lines[-_TAIL:])
    for match in reversed(list(_words(language).finditer(tail))):
        rest = tail[match.end() : match.end() + _LONGEST].lstrip(" \t\n:=.\"'»」)]")
        yield rest.split("\n", 1)[0][:_NEAR]


@cache
def _words(language: str) -> re.Pattern[str]:
    words = "|".join(dict.fromkeys((_WORDS.get(language, _WORDS["en"]), _WORDS["en"])))
    return re.compile(f"(?<![A-Za-z])(?:{normalised(words)})", re.IGNORECASE)


def _result(text: str, language: str, *, written_out: bool) -> Fraction | None:
    """The number of a short passage: a fraction, what a calculation comes to, or the first number."""
    if fraction := _FRACTION.search(text):
        value = Fraction(int(fraction[2]), int(fraction[3])) if int(fraction[3]) else None
        return -value if value is not None and fraction[1] else value
    found = next(numbers(text, language), None)
    if found is None:
        return cjk_number(text) if written_out and language in _CJK_LANGUAGES else None
    if chain := _CHAIN.match(text, found.start):
        found = next(numbers(text[chain.end() :], language), found)
    return found.value


def _last(text: str, language: str) -> Fraction | None:
    found: list[Found] = list(numbers(_LIST_MARK.sub("", text), language))
    return found[-1].value if found else None
