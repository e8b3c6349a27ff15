"""Bytes of records on disk; escapes in JSON are not counted."""

from __future__ import annotations

from collections.abc import Iterable

from lidr import jsonl
from lidr.records import Record, to_json


def utf8(texts: Iterable[str]) -> int:
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def line(record: Record) -> int:
    """A record's line; of one with empty texts what every line has."""
    return len(jsonl.encode(to_json(record)))
