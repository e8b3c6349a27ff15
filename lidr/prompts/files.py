"""Prompt files on disk: objects with the line each begins on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from lidr.errors import LidrError

_SPACE = re.compile(r"[ \t\r\n]*")
_BOM = "\ufeff"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Row(NamedTuple):
    """One object of a file; `line` counts from 1."""

    line: int
    values: dict[str, Any]


def read_jsonl(path: Path) -> Iterator[Row]:
    """Rows of a JSON Lines file; blank lines are passed over, a byte order mark is too.

    Raises:
        LidrError: the file cannot be read, or a line is not a JSON object in UTF-8.
    """
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            where = f"{path}:{number}"
            text = _decode(line, where).removeprefix(_BOM if number == 1 else "")
            if text.strip():
                yield Row(number, _object(_parse(text, where, number, path), where))


def read_json_array(path: Path) -> Iterator[Row]:
    """Rows of a file that holds one JSON array of objects.

    Raises:
        LidrError: the file cannot be read, or holds anything else; names the line.
    """
    with _open(path) as file:
        text = "".join(_decode(line, f"{path}:{number}") for number, line in enumerate(file, start=1))
    yield from _array_rows(text.removeprefix(_BOM), path)


def _array_rows(text: str, path: Path) -> Iterator[Row]:
    decoder, at = json.JSONDecoder(), _skip(text, 0)
    if text[at : at + 1] != "[":
        raise _not_an_array(path, 1)
    line, counted, at = 1, 0, _skip(text, at + 1)
    first = True
    while text[at : at + 1] != "]":
        if not first:
            at = _after_comma(text, at, path)
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            fault_line = error.lineno if isinstance(error, json.JSONDecodeError) else line
            raise _not_json(f"{path}:{fault_line}", error, path) from None
        yield Row(line, _object(value, f"{path}:{line}"))
        at, first = _skip(text, at), False
    end = _skip(text, at + 1)
    if end < len(text):
        raise _not_an_array(path, 1 + text.count("\n", 0, end))


def _after_comma(text: str, at: int, path: Path) -> int:
    if text[at : at + 1] != ",":
        raise _not_an_array(path, 1 + text.count("\n", 0, at))
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise LidrError(
            f"cannot be read ({error.strerror})", where=str(path), instead="mend prompts.files"
        ) from None


def _decode(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        utf16 = " but looks like UTF-16" if line.startswith(_UTF16) and where.endswith(":1") else ""
        raise LidrError(f"is not UTF-8{utf16}", where=where, instead="save the file as UTF-8") from None


def _parse(text: str, where: str, number: int, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if number == 1 and text.lstrip().startswith("["):
            raise LidrError(
                "begins like a JSON array, not like JSON Lines",
                where=where,
                instead="type prompts.format=json_array",
            ) from None
        raise _not_json(where, error, path) from None


def _object(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    instead = (
        "type prompts.format=json_array" if isinstance(value, list) else 'write {"id": ..., "prompt": ...}'
    )
    raise LidrError(f"is a JSON {type(value).__name__}, not an object", where=where, instead=instead)


def _not_json(where: str, error: Exception, path: Path) -> LidrError:
    return LidrError(
        f"is not JSON ({_reason(error)})", where=where, instead=f"mend {path.name}, or mend prompts.format"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "brackets are nested too deeply"
    if not isinstance(error, json.JSONDecodeError):
        return "a number has too many digits"
    place = f"column {error.colno}"
    if "\0" in error.doc[: error.pos + 2]:
        return f"NUL bytes at {place}, as in UTF-16"
    if "\r" in error.doc[: error.pos] and "\n" not in error.doc:
        return f"{error.msg} at {place}; lines end in carriage returns alone"
    return f"{error.msg} at {place}"


def _not_an_array(path: Path, line: int) -> LidrError:
    return LidrError(
        "is not one JSON array of objects",
        where=f"{path}:{line}",
        instead="type prompts.format=jsonl, or mend the file",
    )
