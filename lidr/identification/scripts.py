"""The script of a text, and the languages written in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_BLOCKS = {
    "Latin": "A-Za-z\u00aa\u00ba\u00c0-\u024f\u0250-\u02af\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a",
    "Cyrillic": "\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f",
    "Arabic": "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff",
    "Devanagari": "\u0900-\u097f",
    "Bengali": "\u0980-\u09ff",
    "Telugu": "\u0c00-\u0c7f",
    "Thai": "\u0e00-\u0e7f",
    "Hangul": "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff",
    "Kana": "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "Han": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff",
}
_SCRIPTS = {name: re.compile(f"[{block}]") for name, block in _BLOCKS.items()}
_OWN = {
    "ar": "Arabic",
    "bn": "Bengali",
    "hi": "Devanagari",
    "ja": "Japanese",
    "ko": "Hangul",
    "ru": "Cyrillic",
    "te": "Telugu",
    "th": "Thai",
    "uk": "Cyrillic",
    "zh": "Han",
}
_MOST = 0.5  # of the letters that are of the script
_KANA = 0.1  # of a text in Han and kana that is kana, where the text is Japanese


def script(words: str) -> str | None:
    """The script of most letters, or None where there is none; Japanese is a script of its own.

    >>> script("Привет, world"), script("漢字とかな"), script("漢字")
    ('Cyrillic', 'Japanese', 'Han')
    """
    counts = Counter({name: len(pattern.findall(words)) for name, pattern in _SCRIPTS.items()})
    total = sum(1 for c in words if c.isalpha())
    if cjk := counts["Han"] + counts["Kana"]:
        kind = "Japanese" if counts["Kana"] >= _KANA * cjk else "Han"
        del counts["Han"], counts["Kana"]
        counts[kind] = cjk
    name, count = max(counts.items(), key=lambda item: item[1])
    return name if count and count >= _MOST * total else None


def written_in(script: str, languages: Iterable[str]) -> tuple[str, ...]:
    """Those of some languages that are written in a script, sorted; short Japanese may do without kana."""
    scripts = {"Han", "Japanese"} if script == "Han" else {script}
    return tuple(sorted(code for code in set(languages) if _OWN.get(code, "Latin") in scripts))
