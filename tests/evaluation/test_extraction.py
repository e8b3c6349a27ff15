"""Final numbers of worked answers, in every language of MGSM, and the numbers they are made of."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr.evaluation.extraction import extract, reference
from lidr.evaluation.numbers import cjk_number, normalised, numbers, parse
from tests.evaluation.answer_forms import FORMS, NO_NUMBER
from tests.prompts.make import official

DOTS, COMMAS = ("de", "fr", "ru", "it"), ("en", "zh", "ja", "th", "sw", "bn", "te")
DIGITS = {"th": "๐๑๒๓๔๕๖๗๘๙", "bn": "০১২৩৪৫৬৭৮৯", "te": "౦౧౨౩౪౫౬౭౮౯", "ja": "０１２３４５６７８９"}


@pytest.mark.parametrize("language", FORMS)
def test_the_forms_of_each_language(language: str) -> None:
    forms = FORMS[language]
    assert len(forms) >= 20
    found = {text: extract(text, language) for text, _ in forms}
    wrong = [(t, f, expected) for t, expected in forms if (f := found[t]) is None or f.value != expected]
    assert not wrong


@pytest.mark.parametrize("language", FORMS)
@pytest.mark.parametrize("text", NO_NUMBER)
def test_no_number_is_a_failed_extraction(text: str, language: str) -> None:
    assert extract(text, language) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("\\boxed{5} and 7", "boxed"),
        ("#### 5\n7", "hashes"),
        ("The answer is 5.", "word"),
        ("5 eggs", "last"),
    ],
)
def test_the_rule_is_named(text: str, rule: str) -> None:
    found = extract(text, "en")
    assert found is not None
    assert (found.value, found.rule) == (5, rule)


@pytest.mark.parametrize(
    ("body", "language", "value"),
    [
        ("1.234", "de", 1234),
        ("1,234", "de", Fraction(617, 500)),
        ("1.234", "en", Fraction(617, 500)),
        ("1,234", "en", 1234),
        ("1.234", "es", 1234),
        ("1,234", "es", 1234),
        ("0.125", "de", Fraction(1, 8)),
        ("12,5", "en", Fraction(25, 2)),
        ("1'234.5", "de", Fraction(2469, 2)),
        ("12,34,567", "en", 1234567),
        ("1.2.3", "en", None),
        ("1,23,4", "en", None),
        ("1.234,5", "en", Fraction(2469, 2)),
    ],
)
def test_marks(body: str, language: str, value: Fraction | None) -> None:
    assert parse(body, language) == value


@given(st.integers(0, 10**9), st.sampled_from([*DOTS, *COMMAS, "es"]))
def test_grouped_whole_numbers_come_back(value: int, language: str) -> None:
    mark = "." if language in DOTS else ","
    assert parse(f"{value:,}".replace(",", mark), language) == value
    assert parse(str(value), language) == value


@given(st.integers(0, 10**7), st.integers(0, 99), st.sampled_from([*DOTS, *COMMAS]))
def test_decimals_come_back(whole: int, cents: int, language: str) -> None:
    text = f"{whole:,}.{cents:02d}"
    if language in DOTS:
        text = text.translate({ord(","): ".", ord("."): ","})
    assert parse(text, language) == Fraction(100 * whole + cents, 100)


@given(st.integers(-(10**6), 10**6), st.sampled_from(list(DIGITS)))
def test_digits_of_other_scripts(value: int, language: str) -> None:
    text = str(value).translate({ord(str(i)): d for i, d in enumerate(DIGITS[language])})
    assert [found.value for found in numbers(normalised(f"= {text}"), language)] == [value]


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    for language in ("en", "de", "fr", "zh", "th"):
        extract(text, language)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            ("十", 10),
            ("十八", 18),
            ("二十", 20),
            ("一百零五", 105),
            ("三千零一", 3001),
            ("二十五万三千", 253000),
        ),
        *(("一亿二千万", 120_000_000), ("一万亿", 10**12), ("二〇二四", 2024), ("两百", 200), ("苹果", None)),
    ],
)
def test_chinese_numerals(text: str, value: int | None) -> None:
    assert cjk_number(text) == value


def test_references() -> None:
    assert reference("1,450") == 1450
    assert reference("18.0") == 18
    for text in ("", "eighteen", "1 or 2"):
        with pytest.raises(ValueError, match="is no number"):
            reference(text)


def test_every_reference_of_mgsm_is_a_number_and_is_found_again() -> None:
    paths = sorted((official() / "MGSM").glob("mgsm_*.jsonl"))
    assert len(paths) == 11
    for path in paths:
        language = path.stem.removeprefix("mgsm_")
        for line in path.read_text(encoding="utf-8").splitlines():
            value = reference(json.loads(line)["response"])
            assert value.denominator == 1
            found = extract(f"2 + 2 = 4.\n{value}", language)
            assert found is not None
            assert found.value == value
