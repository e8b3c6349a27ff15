"""Languages by ISO 639-1 code, and their names."""

from __future__ import annotations

NAMES: dict[str, str] = {
    "ar": "Arabic",
    "bn": "Bengali",
    "cs": "Czech",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "hi": "Hindi",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ru": "Russian",
    "sv": "Swedish",
    "sw": "Swahili",
    "te": "Telugu",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "zh": "Chinese",
}


def codes() -> frozenset[str]:
    """The codes a configuration may name."""
    return frozenset(NAMES)


def is_known(code: str) -> bool:
    return code in NAMES


def name(code: str) -> str:
    """The language's English name, as prompts name it."""
    return NAMES[code]
