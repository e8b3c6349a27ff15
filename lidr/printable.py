"""Text from files, models and servers, made safe to print: no escape sequence, no reordering, no endless line."""

from __future__ import annotations

import re

# Control characters but line feed and tab, half surrogate pairs, and what reorders or breaks lines unseen.
_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_BREAKS = str.maketrans({"\n": "\\n", "\t": "\\t"})
_NO_NAME = re.compile(r"^\.+|[^\w.-]+")
LENGTH = 80


def inert(text: str) -> str:
    r"""The text with every character that acts on a terminal written out; lines and tabs stay.

    >>> inert("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _ACTIVE.sub(lambda match: _written(ord(match[0])), text)


def short(text: object, length: int = LENGTH) -> str:
    """A value as one inert line of at most `length` characters, for a message that must stay readable."""
    whole = str(text) if not isinstance(text, str) else text
    line = inert(whole[: length + 1].translate(_BREAKS))
    return line if len(whole) <= length else line[: length - 1] + "…"


def file_name(text: str) -> str:
    """A text as the name of a file or folder: one part of a path, never the folder itself or its parent.

    >>> file_name("../lab accuracy")
    '-lab-accuracy'
    """
    return _NO_NAME.sub("-", text)


def _written(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
