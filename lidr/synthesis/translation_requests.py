"""Prompts that ask for a translation, or for an answer in a language they name.

Their right answer is the same in whatever language they are put ("Translate 'I miss you' into French"), so
the paper takes the dominant language's answer untranslated. Its authors listed 88 ids by hand; these rules
read the dominant-language prompt. They know English alone: with another dominant language they find nothing.

Measured on all 9,229 Alpagasus prompts: 108 found, among them all 88 of the list (which was in view when the
rules were written). Of the 20 others, such as "Write an English haiku about snow.", 19 are right by eye.
"""

from __future__ import annotations

import re

from lidr import languages
from lidr.prompts.rows import frame

_FURTHER = (
    "Afrikaans|Albanian|Amharic|Armenian|Azerbaijani|Basque|Belarusian|Bosnian|Bulgarian|Burmese"
    "|Cantonese|Catalan|Croatian|Danish|Esperanto|Estonian|Farsi|Filipino|Finnish|Gaelic|Galician"
    "|Georgian|Greek|Gujarati|Hausa|Hebrew|Hungarian|Icelandic|Igbo|Irish|Javanese|Kannada|Kazakh"
    "|Khmer|Kurdish|Lao|Latin|Latvian|Lithuanian|Macedonian|Malay|Malayalam|Mandarin|Marathi"
    "|Mongolian|Nepali|Norwegian|Pashto|Persian|Punjabi|Romanian|Sanskrit|Serbian|Sinhala|Slovak"
    "|Slovenian|Somali|Tagalog|Tamil|Tibetan|Urdu|Uzbek|Welsh|Yiddish|Yoruba|Zulu"
)
_LANGUAGE = "(?:" + "|".join([*languages.NAMES.values(), _FURTHER]) + ")"
_WITHIN = r"[^.?!\n]*?"  # stays in the sentence

# "French", "the French language", "simplified Chinese", "American English"
_NAMED = rf"(?:the\s+)?(?:[\w-]+\s+)?{_LANGUAGE}\b"
# What may follow the name of a language, but not of a thing: "in French", not "in French cuisine".
_ENDS = (
    r"(?=\s*(?:$|\n|[^\w\s]|(?:language|and|or|with|using|for|about|that|which|to|so|but|then|as|please)\b))"
)

_UNNAMED_TARGET = r"(?:another|a\s+(?:second|different|foreign)|(?:the\s+)?target)\s+language"
_SPOKEN = (
    r"sentences?|phrases?|texts?|words?|paragraphs?|statements?|expressions?|proverbs?|idioms?|quotes?"
    r"|passages?"
)
_WRITTEN = (
    _SPOKEN
    + r"|haikus?|poems?|limericks?|verses?|lyrics|songs?|stor(?:y|ies)|essays?|letters?|emails?|dialogues?"
    + r"|conversations?|questions?|translations?"
)
_ASKS_TO_WRITE = (
    r"(?:write|compose|construct|create|craft|form|formulate|generate|make|produce|come\s+up\s+with|give|provide"
    r"|suggest)"
)
_ASKS_TO_SAY = (
    r"(?:answer|respond|reply|write|rewrite|say|express|put|convert|explain|describe|summari[sz]e|paraphrase|render"
    r"|compose|introduce|greet|called)"
)
_TRANSLATE = r"\bs?translat(?:e|es|ing)\b"

_RULES = tuple(
    re.compile(rule, re.IGNORECASE)
    for rule in (
        # Translate "I miss you" into French. / Translate this sentence from Spanish.
        rf"{_TRANSLATE}(?:{_WITHIN}|[^\n]*?[\"”]\s*)\b(?:into|to|in|from)\s+{_NAMED}{_ENDS}",
        # Translate it from one language to another.
        rf"{_TRANSLATE}{_WITHIN}\b(?:(?:into|to|in)\s+{_UNNAMED_TARGET}|language\s+(?:in)?to\s+another)\b"
        rf"|\b{_UNNAMED_TARGET}\b{_WITHIN}{_TRANSLATE}",
        # Translate the sentence: "..." with no target, but not into a formula.
        rf"{_TRANSLATE}\s+(?:the|this|these|following|given|below|a|\s)+\b(?:{_SPOKEN})\b(?!{_WITHIN}\b(?:into|to|as)\b)",
        # Give the Spanish translation of ...
        rf"\b{_NAMED}\s+translation\s+(?:of|for)\b|\btranslation\b{_WITHIN}\b(?:into|to|in)\s+{_NAMED}{_ENDS}",
        # Answer in German. / How do you say "good evening" in French?
        rf"\b{_ASKS_TO_SAY}\b(?:{_WITHIN}|[^\n]*?[\"”]\s*)\bin(?:to)?\s+{_NAMED}{_ENDS}",
        # What is the word for "dog" in Spanish?
        rf"\b(?:word|phrase|term)\s+for\b[^\n]*?\bin\s+{_NAMED}{_ENDS}",
        # Write an English haiku. / Construct a valid Spanish sentence.
        rf"\b{_ASKS_TO_WRITE}\s+(?:(?!about\b|on\b|for\b|with\b|from\b|of\b)[\w'-]+\s+){{0,4}}?{_LANGUAGE}\s+"
        rf"(?:{_WRITTEN})\b",
    )
)


def asks_for_translation(prompt: str, dominant: str, instruction: str | None = None) -> bool:
    """Whether a dominant-language prompt asks for a translation or for an answer in a language it names.

    Args:
        prompt: the training prompt.
        dominant: its language.
        instruction: what the prompt set wraps around every prompt; it may name a language and does not count.
    """
    if dominant != "en":
        return False
    if instruction is not None:
        before, after = frame(instruction, dominant)
        prompt = prompt.removeprefix(before).removesuffix(after)
    return any(rule.search(prompt) for rule in _RULES)
