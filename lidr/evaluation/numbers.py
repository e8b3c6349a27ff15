"""Numbers in running text: digits of any script, and each language's marks for thousands and decimals.

A mark can be ambiguous. Where it stands once before exactly three digits ("1.234", "1,234") the language decides;
where it does not separate groups of three it is a decimal mark in every language, since models mix conventions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

_COMMA, _DOT, _GROUP = ",", ".", "'"
# Marks that part thousands. In Spanish both are in use (Ortografía de la lengua española, VIII 2.1.1, and Mexico's).
_THOUSANDS: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        ("cs", "de", "fr", "id", "it", "nl", "pl", "pt", "ru", "sv", "tr", "uk", "vi"), frozenset({_DOT})
    ),
    "es": frozenset({_DOT, _COMMA}),
}
_DEFAULT = frozenset({_COMMA})
_SPACED = frozenset({"cs", "es", "fr", "pl", "pt", "ru", "sv", "uk"})
_MARKS = str.maketrans({"٫": _DOT, "٬": _COMMA, "’": _GROUP, "\u2212": "-", "\u2013": "-"})
_NARROW = re.compile("(?<=\\d)[\u00a0\u202f\u2009](?=\\d{3}(?!\\d))")
_SPACES = re.compile(r"(?<![\d.,'])\d{1,3}(?: \d{3})+(?!\d)")
_RAISED = str.maketrans(dict.fromkeys("⁰¹²³⁴⁵⁶⁷⁸⁹", ""))
# A digit behind a single letter belongs to a name: x2, H2O.
_NUMBER = re.compile(
    r"(?:(?P<sign>(?<![A-Za-z0-9)\]}%])-)[$€£¥₹]?)?(?<!(?<![A-Za-z])[A-Za-z])(?P<body>\d+(?:[.,']\d+)*)"
)
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:[.,']\d{3})+|[1-9]\d?(?:[.,']\d\d)+[.,']\d{3}")
_LONGEST = 300  # digits and marks: a longer run is a model that repeats itself
_CJK_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_CJK_UNITS = {"十": 10, "百": 100, "千": 1000}
_CJK_MYRIADS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_CJK = re.compile(f"[{''.join([*_CJK_DIGITS, *_CJK_UNITS, *_CJK_MYRIADS])}]+")


class Found(NamedTuple):
    """A number in a text that `normalised` gave.

    start, end: where it stands, sign included.
    """

    value: Fraction
    start: int
    end: int


def normalised(text: str) -> str:
    """The text with ASCII digits and marks; narrow spaces that part thousands are apostrophes."""
    text = _NARROW.sub(_GROUP, text).translate(_MARKS).translate(_RAISED)
    digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
    return unicodedata.normalize("NFKC", digits)


def numbers(text: str, language: str) -> Iterator[Found]:
    """Every number of a normalised text, in its order; 1.2.3 and the like are none."""
    if language in _SPACED:
        text = _SPACES.sub(lambda match: match[0].replace(" ", _GROUP), text)
    for match in _NUMBER.finditer(text):
        value = parse(match["body"], language)
        if value is not None:
            yield Found(-value if match["sign"] else value, *match.span())


def parse(body: str, language: str) -> Fraction | None:
    """The value of digits with marks between them, or None where the marks make no number.

    >>> parse("1.234", "de"), parse("1.234", "en"), parse("1,00,000.5", "bn")
    (Fraction(1234, 1), Fraction(617, 500), Fraction(200001, 2))
    """
    if len(body) > _LONGEST:
        return None
    marks = [c for c in body if not c.isdigit()]
    kinds = dict.fromkeys(marks)
    if not marks:
        return Fraction(body)
    decimal = _decimal_mark(body, marks, language)
    whole, _, fraction = body.partition(decimal) if decimal else (body, "", "")
    groups = [kind for kind in kinds if kind != decimal]
    if len(groups) > 1 or (groups and not _GROUPED.fullmatch(whole)) or (decimal and not fraction.isdigit()):
        return None
    return Fraction(f"{''.join(filter(str.isdigit, whole))}.{fraction or 0}")


def _decimal_mark(body: str, marks: list[str], language: str) -> str | None:
    """The mark before the decimals, if there is one."""
    last = marks[-1]
    if last == _GROUP or marks.count(last) > 1:
        return None
    if len(marks) > 1:
        return last if last != marks[0] else None
    parts_thousands = last in _THOUSANDS.get(language, _DEFAULT)
    return None if parts_thousands and _GROUPED.fullmatch(body) else last


def cjk_number(text: str) -> Fraction | None:
    """A number in Chinese numerals, such as 二十五: the longest one, since 一 alone is part of other words too."""
    runs = _CJK.findall(text)
    if not runs:
        return None
    run = max(reversed(runs), key=len)
    if len(run) > _LONGEST:
        return None
    total = section = digit = 0
    positional = not any(c in _CJK_UNITS or c in _CJK_MYRIADS for c in run)
    for character in run:
        if character in _CJK_DIGITS:
            digit = digit * 10 * positional + _CJK_DIGITS[character]
        elif character in _CJK_UNITS:
            section, digit = section + (digit or 1) * _CJK_UNITS[character], 0
        else:
            unit, own = _CJK_MYRIADS[character], section + digit
            total = total + own * unit if total >= unit else (total + own) * unit
            section = digit = 0
    return Fraction(total + section + digit)
