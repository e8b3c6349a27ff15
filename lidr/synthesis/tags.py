"""The tags around source and translation: filled in, read back, and safe from a text that holds them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from lidr import languages
from lidr.config import TranslatorConfig
from lidr.engines.base import FinishReason
from lidr.errors import LidrError

_FIELD = re.compile(r"\{(source|source_language|target_language)\}")
_TEMPLATE_TAG = re.compile(r"<[^<>\s{}]+>")


class TranslationError(StrEnum):
    """Why a translation is missing; the last three were not sent to the model.

    source too long: with its request it leaves no room in the translator's context.
    source failed: the translation that was to be translated back is missing itself.
    """

    NO_CLOSING_TAG = "no closing tag"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    SOURCE_TOO_LONG = "source too long"
    EMPTY_SOURCE = "empty source"
    TRUNCATED_SOURCE = "truncated source"
    SOURCE_FAILED = "source failed"


@dataclass(frozen=True)
class Tags:
    """The translator's wording.

    A source that holds one of the tags could end the translation early or open a second one. `guard` writes
    every tag in it with one underscore more after its first character (``<translated>`` as ``<_translated>``,
    ``<_translated>`` as ``<__translated>``), so no tag is left and `unguard` restores the text exactly.
    """

    config: TranslatorConfig

    def __post_init__(self) -> None:
        for key, tag in (("open_tag", self.config.open_tag), ("close_tag", self.config.close_tag)):
            if len(tag) < 2 or tag != tag.strip() or tag in self.guard(tag):
                raise LidrError(
                    f"{tag!r} cannot mark a boundary",
                    where=f"translator.{key}",
                    instead="type a tag as <translated>",
                )

    def request(self, source: str, source_language: str, target_language: str) -> str:
        """The user turn that asks for a translation."""
        values = {
            "source": self.guard(source),
            "source_language": languages.name(source_language),
            "target_language": languages.name(target_language),
        }
        return _FIELD.sub(lambda match: values[match[1]], self.config.template)

    def parse(self, text: str, finish_reason: str) -> tuple[str | None, TranslationError | None]:
        """The translation a completion holds, or why it holds none."""
        if finish_reason == FinishReason.TOO_LONG:
            return None, TranslationError.SOURCE_TOO_LONG
        body, closed, _ = text.partition(self.config.close_tag)
        if not closed:
            truncated = finish_reason == FinishReason.LENGTH
            return None, TranslationError.TRUNCATED if truncated else TranslationError.NO_CLOSING_TAG
        # Engines that cannot prime an answer let the model write the opening tag itself, and a preamble before it.
        body = body.rpartition(self.config.open_tag)[2].strip()
        return (self.unguard(body), None) if body else (None, TranslationError.EMPTY)

    def guard(self, text: str) -> str:
        return self._pattern.sub(lambda m: f"{m[0][0]}_{m[0][1:]}", text)

    def unguard(self, text: str) -> str:
        return self._pattern.sub(lambda m: m[0].replace("_", "", 1) if m[0][1] == "_" else m[0], text)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Every tag, with any number of underscores after its first character."""
        tags = {self.config.open_tag, self.config.close_tag, *_TEMPLATE_TAG.findall(self.config.template)}
        longest_first = sorted((tag for tag in tags if len(tag) > 1), key=lambda tag: (-len(tag), tag))
        return re.compile("|".join(f"{re.escape(tag[0])}_*{re.escape(tag[1:])}" for tag in longest_first))
