"""What of a text belongs to a language: its words, without code, addresses, formulas, digits and signs."""

from __future__ import annotations

import re
import unicodedata

# A letter of a script without spaces says about as much as three of an alphabet.
_DENSE = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_DENSE_WEIGHT = 3
_JOINERS = " '’-\u200c\u200d"
_NO_LANGUAGE = re.compile(
    r"```.*?(?:```|\Z)"  # code block, also one cut off before its end
    r"|`[^`\n]*`"
    r"|\\\(.{0,4000}?\\\)|\\\[.{0,4000}?\\\]|\$\$.*?\$\$"  # TeX; a bound keeps a looping answer from taking minutes
    r"|\$(?=[^$\n]*[\\^_={}])[^$\n]*\$"  # TeX between single dollars, but no two prices
    r"|\\(?:boxed|frac|text|times|cdot)\b"
    r"|(?:https?://|www\.)\S+|[^\s@]{1,64}@[^\s@]{1,255}\.\w+"
    r"|</?[A-Za-z][^<>\n]*>",
    re.DOTALL,
)


def prose(text: str) -> str:
    """The text without code blocks, addresses, formulas and tags; its lines stay lines."""
    return _NO_LANGUAGE.sub(lambda match: "\n" if "\n" in match[0] else " ", text)


def words(prose: str) -> str:
    """Only the words, single-letter ones (variables, list marks) and digits taken out."""
    kept = "".join(c if is_letter(c) or c in _JOINERS else " " for c in prose)
    return " ".join(word for word in kept.split() if len(word) > 1 or _DENSE.match(word))


def is_letter(character: str) -> bool:
    """Letters, and the marks that alphabets of India or Thailand write vowels with."""
    return character.isalpha() or unicodedata.category(character).startswith("M")


def letters(words: str) -> int:
    """How much a text says about its language, in letters of an alphabet."""
    dense = len(_DENSE.findall(words))
    return sum(map(is_letter, words)) + dense * (_DENSE_WEIGHT - 1)
