"""Texts of models and servers: read, guarded and printed without an error and without an effect."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lidr.config import EndpointApi
from lidr.engines.endpoint_answers import (
    FaultError,
    RefusedError,
    context_limit,
    error_message,
    read_answer,
    seconds_to_wait,
    shown,
)
from lidr.evaluation.extraction import extract, reference
from lidr.evaluation.numbers import cjk_number, normalised, numbers
from lidr.identification import identify, identify_lines
from lidr.identification.text import prose
from lidr.lab.checks import is_correct
from lidr.printable import file_name, inert, short
from lidr.synthesis.filters import repeated_share
from lidr.synthesis.tags import Tags
from tests.torture.strategies import ANY_TEXT, BYTES, JSON, REPEATABLE, SCALARS, TEXT, config

CODES = st.sampled_from(["en", "de", "es", "fr", "zh", "ja", "ar", "th", "bn", "sw", "te", "ru"])
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "text": JSON,
        "finish_reason": JSON | st.sampled_from(["stop", "length"]),
        "message": JSON | st.fixed_dictionaries({"content": JSON}),
        "stop_reason": JSON,
    },
)
USAGE = st.fixed_dictionaries({"prompt_tokens": SCALARS, "completion_tokens": SCALARS})
BODY = st.fixed_dictionaries(
    {}, optional={"choices": JSON | st.lists(CHOICE, max_size=2), "usage": JSON | USAGE}
).map(lambda value: json.dumps(value).encode())


@REPEATABLE
@given(body=BYTES | BODY, api=st.sampled_from(EndpointApi))
def test_a_servers_answer_is_an_answer_or_a_fault(body: bytes, api: EndpointApi) -> None:
    try:
        answer = read_answer(body, api)
    except FaultError:
        return
    assert answer.usage is None or 0 <= answer.usage.tokens <= 2**40
    answer.text.encode("utf-8")


WORDS = st.lists(
    st.sampled_from(["context length", "is", "4096", "max_model_len", "tokens", "in the messages", "9" * 5000,
                     "resulted in", "request (", ")", "٤٠٩٦", "at least", "\n", "\x1b"]) | st.integers().map(str)
).map(" ".join)  # fmt: skip


@REPEATABLE
@given(
    status=st.sampled_from([400, 413, 422]), message=WORDS | ANY_TEXT, code=TEXT, asked=st.integers(1, 10**6)
)
def test_a_refusal_is_read(status: int, message: str, code: str, asked: int) -> None:
    said, _ = error_message(message)
    limit = context_limit(RefusedError(status, said, code))
    assert limit is None or 0 <= limit.room(asked, None) < asked
    assert inert(shown(said)) == shown(said)


DATES = st.sampled_from(
    ["Mon, 99 Foo 9 9:9:9 +99999", "Thu, 01 Jan 0001 00:00:00 GMT", "1 1 1 1", ",,,", "1e999"]
)


@REPEATABLE
@given(value=ANY_TEXT | st.floats().map(str) | DATES)
def test_a_wait_is_a_number_of_seconds(value: str) -> None:
    assert 0 <= seconds_to_wait({"retry-after": value}) < float("inf")


SIGNS = "0123456789.,'-/ $%\\{}()=×十百千万億零٠١٢٣൧²½①\u00a0\u2212#答:boxedfrac"
DIGITS = st.text(st.sampled_from(SIGNS), max_size=40)


@REPEATABLE
@given(text=DIGITS | ANY_TEXT, language=CODES)
@example(text="\\boxed{" * 500, language="en")
@example(text="1" * 5000 + "." + "2" * 5000, language="de")
@example(text="\\frac{1}{0}", language="en")
@example(text="億" * 301 + "一" * 400, language="zh")
@example(text="\\frac{" + "9" * 5000 + "}{7}", language="en")
@example(text="####" * 3000, language="en")
def test_numbers_are_found_or_not_and_never_an_error(text: str, language: str) -> None:
    found = extract(text, language)
    assert found is None or found.rule in ("boxed", "hashes", "word", "last")
    list(numbers(normalised(text), language))
    cjk_number(text)
    is_correct(5, text)
    with contextlib.suppress(ValueError):
        reference(text)


@REPEATABLE
@given(text=ANY_TEXT)
@example(text="\ud800 " * 20 + "une phrase en français, et rien de plus")
@example(text="`" * 3000 + "<" * 3000 + "$" * 3000)
def test_languages_are_told_or_not_and_never_an_error(text: str) -> None:
    assert identify(text, ("en", "es", "fr", "zh")) in ("en", "es", "fr", "zh", "other", None)
    list(identify_lines(text, ("en", "zh")))
    assert 0 <= repeated_share(text) <= 1


LOOPS = (
    "\\boxed{",
    "answer ",
    "\\(",
    "a",
    "@",
    "a@",
    "$",
    "<a",
    "`",
    "1,",
    "####",
    "答",
    "1 000 ",
    "\\frac{1}{",
)


@pytest.mark.parametrize("piece", LOOPS)
def test_an_answer_that_loops_takes_no_minutes(piece: str) -> None:
    """A quarter of a million characters; what grows with their square would take minutes."""
    text, started = piece * (250_000 // len(piece)), time.process_time()
    extract(text, "en")
    is_correct(5, text)
    prose(text)
    repeated_share(text)
    _tags().parse(text, "stop")
    assert time.process_time() - started < 20


OPEN, CLOSE = "<translated>", "</translated>"
PIECES = st.lists(
    st.sampled_from([OPEN, CLOSE, "<_translated>", "</_translated>", "<__translated>", "_", "<", "</", ">",
                     "translated", "\\", "\n", "{source}", "\ud800", "\u202e"]) | st.text(max_size=3)
).map("".join)  # fmt: skip


def _tags() -> Tags:
    return Tags(replace(config().translator, open_tag=OPEN, close_tag=CLOSE))


@REPEATABLE
@given(text=PIECES)
def test_guarded_texts_hold_no_tag_and_come_back(text: str) -> None:
    tags = _tags()
    guarded = tags.guard(text)
    assert OPEN not in guarded
    assert CLOSE not in guarded
    assert tags.unguard(guarded) == text
    translation, error = tags.parse(f"{guarded}{CLOSE} and more", "stop")
    assert translation == (text.strip() or None)
    assert (error is None) == bool(text.strip())


@REPEATABLE
@given(text=PIECES, reason=st.sampled_from(["stop", "length", "too_long"]))
def test_any_completion_is_a_translation_or_an_error(text: str, reason: str) -> None:
    translation, error = _tags().parse(text, reason)
    assert (translation is None) == (error is not None)


@REPEATABLE
@given(text=ANY_TEXT)
def test_what_is_printed_does_nothing(text: str) -> None:
    assert inert(inert(text)) == inert(text)
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in inert(text))
    assert "\n" not in short(text)
    inert(text).encode("utf-8")
    name = file_name(text)
    assert "/" not in name
    assert name not in (".", "..")
    assert Path(name or "x").name == (name or "x")
