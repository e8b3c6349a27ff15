"""Bytes, values and texts that no reader expects."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import RunConfig
from lidr.errors import LidrError

REPEATABLE = settings(deadline=None, derandomize=True, max_examples=30)
ANY_TEXT = st.text(st.characters(codec=None, categories=None))  # half surrogate pairs too
TEXT = st.text()
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
BROKEN = st.sampled_from(
    [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"\xff\xfe", b"\xef\xbb\xbf{}", b"\0"]
)
BYTES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()) | BROKEN
FIELDS = ("id", "language", "prompt", "response", "finish_reason", "tokens", "answer", "source", "source_language",
          "target_language", "translation", "error", "chosen", "rejected", "chosen_origin", "rejected_origin",
          "accuracy", "key", "model", "cost", "sample", "score")  # fmt: skip
RECORDS = st.dictionaries(st.sampled_from(FIELDS), SCALARS | st.sampled_from(["en", "es", "stop"]))
LINE = BYTES.map(lambda data: data.replace(b"\n", b" ")) | RECORDS.map(jsonl.encode)
LINES = st.lists(LINE, max_size=4).map(b"\n".join)


@cache
def config() -> RunConfig:
    """The demo's."""
    return compose_run(["experiment=lab"])


def refusal(call: Callable[[], object]) -> LidrError | None:
    """What a call is refused with, None where it works; any other error is one."""
    try:
        call()
    except LidrError as error:
        return error
    return None


def nested(values: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A configuration with another value."""
    section = values
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return values
