"""The fields of a record on disk, checked: what is wrong, in which line, and what to do about it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lidr import jsonl
from lidr.errors import LidrError
from lidr.printable import short

_MOST = 2**53  # tokens: the whole numbers that every JSON reader has


def numbered_records(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Every record of a file, and where it stands."""
    for number, record in jsonl.numbered(path):
        yield record, f"{path}:{number}"


def needed_texts(record: Mapping[str, Any], keys: tuple[str, ...], where: str) -> dict[str, str]:
    """The texts under some keys, all of which a record must have."""
    absent = [key for key in keys if not isinstance(record.get(key), str)]
    if absent:
        raise LidrError(
            f"has no text under {', '.join(map(repr, absent))}",
            where=where,
            instead=f"a record holds {', '.join(keys)}, all texts",
        )
    return {key: _encodable(record[key], key, where) for key in keys}


def text_or_null(record: Mapping[str, Any], key: str, where: str) -> str | None:
    """The text under a key; null and a missing key are the same."""
    value = record.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise LidrError(f"has no text under {key!r}", where=where, instead=f"{key} is a text or null")
    return _encodable(value, key, where)


def number_or_null(record: Mapping[str, Any], key: str, where: str) -> float | None:
    """The finite number under a key; null and a missing key are the same."""
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise LidrError(f"has no number under {key!r}", where=where, instead=f"{key} is a number or null")
    return float(value)


def _encodable(value: str, key: str, where: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise LidrError(
            f"holds half a surrogate pair under {key!r}, which is no text",
            where=where,
            instead="mend the escape \\ud...",
        ) from None
    return value


def whole_number(record: Mapping[str, Any], key: str, where: str) -> int:
    """The number under a key, such as one of tokens; a missing one is 0."""
    value = record.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise LidrError(
            f"{short(json.dumps(value))} under {key!r} is no number of tokens",
            where=where,
            instead=f"{key} is a whole number of 0 or more",
        )
    return value


def check_language(found: str, expected: str, where: str) -> None:
    """Refuses a record of another language than its file's."""
    if found != expected:
        raise LidrError(
            f"is in {short(found)!r}, the file's name says {expected!r}",
            where=where,
            instead="mend or rename it",
        )
