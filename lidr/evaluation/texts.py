"""What a text looks like, whatever it says: features by which translations are told from texts written in a language.

Translated text is simpler than original text: fewer different words, other sentence lengths, more repetition
(translationese). Each feature is a number of one text; a text that is too short for one has none.
"""

from __future__ import annotations

import re
import zlib

from lidr.synthesis.filters import units

_WINDOW = 10  # units; an answer of the lab has hardly twice as many
_SENTENCE_END = re.compile(r"[.!?\u2026]+(?:\s|$)|[\u3002\uff01\uff1f\u0964]|\n+")


def lexical_variety(text: str) -> float | None:
    """Different words among 10 in a row, 0 to 1, mean over all such windows; of characters without spaces."""
    found, _ = units(text)
    if len(found) < _WINDOW:
        return None
    windows = [found[i : i + _WINDOW] for i in range(len(found) - _WINDOW + 1)]
    return sum(len(set(window)) for window in windows) / (_WINDOW * len(windows))


def sentence_length(text: str) -> float | None:
    """Words a sentence; characters where no spaces part words."""
    lengths = [len(units(part)[0]) for part in _SENTENCE_END.split(text) if part.strip()]
    known = [length for length in lengths if length]
    return sum(known) / len(known) if known else None


def compressed(text: str) -> float | None:
    """Bytes of the deflated text over its own, UTF-8; lower where it repeats itself, and the longer it is."""
    raw = text.encode("utf-8", "surrogatepass")
    return len(zlib.compress(raw, 9)) / len(raw) if raw else None


UNBOUNDED = ("sentence_length", "compressed")  # may exceed 1
FEATURES = {"lexical_variety": lexical_variety, "sentence_length": sentence_length, "compressed": compressed}
