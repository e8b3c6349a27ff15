"""What a judge is asked: a template filled with texts that cannot step out of their place in it.

A model's answer is data. In every text the template's own tags, and what marks turns in common chat templates, are
written with one underscore more after their first character (``</answer_1>`` as ``<_/answer_1>``), so that a text
can neither close its section nor open another one, nor end the judge's turn; `unguard` restores it exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from lidr import languages
from lidr.config.judge_schema import WordingConfig

_FIELD = re.compile(r"\{([a-z_0-9]+)\}")
_TAG = re.compile(r"</?([a-z][a-z_0-9]*)>")
# Turn marks of ChatML, Llama, Gemma, Mistral, DeepSeek and Zephyr templates.
_TURN = (
    r"<_*\|[^<>\n]{1,40}\|>",
    r"<_*｜[^<>\n]{1,40}｜>",
    r"<_*/?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn)>",
    r"\[_*/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS|AVAILABLE_TOOLS)\]",
    r"<_*</?SYS>>",
)
_GUARDED = re.compile(r"(?<=^[<\[])_")

COMPARISON_FIELDS = ("prompt", "answer_1", "answer_2")
RATING_FIELDS = ("prompt", "answer")


@dataclass(frozen=True)
class Wording:
    """A judge's templates, filled in and read back."""

    config: WordingConfig

    def comparison(self, language: str, prompt: str, first: str, second: str) -> str:
        """The question which of two answers to a prompt is better."""
        texts = {"prompt": prompt, "answer_1": first, "answer_2": second}
        return self._filled(self.config.comparison, language, texts)

    def rating(self, language: str, prompt: str, answer: str) -> str:
        """The question how good an answer is."""
        return self._filled(self.config.rating, language, {"prompt": prompt, "answer": answer})

    def guard(self, text: str) -> str:
        """A text in which nothing marks the end or the start of a section or a turn."""
        return self._pattern.sub(lambda m: f"{m[0][0]}_{m[0][1:]}", text)

    def unguard(self, text: str) -> str:
        """The text that `guard` was given."""
        return self._pattern.sub(lambda m: _GUARDED.sub("", m[0], count=1), text)

    def _filled(self, template: str, language: str, texts: Mapping[str, str]) -> str:
        values = {name: self.guard(text) for name, text in texts.items()}
        values["language_name"] = languages.name(language)
        return _FIELD.sub(lambda m: values.get(m[1], m[0]), template)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Every tag of both templates and every turn mark, with any number of underscores put in."""
        tags = {name for t in (self.config.comparison, self.config.rating) for name in _TAG.findall(t)}
        own = [rf"<_*/?\s*{re.escape(name)}\s*>" for name in sorted(tags, key=lambda n: (-len(n), n))]
        return re.compile("|".join([*own, *_TURN]), re.IGNORECASE)


def tags_around(template: str, fields: tuple[str, ...]) -> dict[str, str]:
    """The tag that encloses each field of a template, alone: ``<answer_1>{answer_1}</answer_1>``."""
    return {
        field: found[1]
        for field in fields
        if (found := re.search(rf"<([a-z][a-z_0-9]*)>\s*\{{{field}\}}\s*</\1>", template))
    }
