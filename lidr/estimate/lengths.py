"""How long answers and translations will be: from what is stored, what the probe saw, or what is assumed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lidr.config import ModelConfig, PromptFormat, PromptsConfig
from lidr.estimate import assumed
from lidr.estimate.counting import Counter
from lidr.estimate.ranges import Range, around
from lidr.estimate.sizes import utf8
from lidr.estimate.stored import StoredAnswers, StoredTranslations
from lidr.paths import BUILTIN_LAB
from lidr.records import Prompt

_PROBED = "the probe's answers"
_SAMPLE = 256  # prompts of a language by which its writing is measured
_ENOUGH = 5  # answers of a language by which its own length is told
_MOST = 0.5  # share of answers that must have ended to tell how long they are
ONE = Range.exact(1)


@dataclass(frozen=True)
class Writing:
    """How a language is written, measured on its prompts.

    characters: of a mean prompt. tokens, bytes: of a character.
    """

    characters: float
    tokens: Range
    bytes: float


@dataclass(frozen=True)
class Answer:
    """A mean answer of one language.

    tokens: of all, the end of turn included. cap: tokens that none can exceed.
    sent: share that is translated, neither empty nor cut off. characters: of those that are sent.
    basis: where that is known from.
    """

    tokens: Range
    sent: Range
    characters: Range
    writing: Writing
    cap: float
    basis: str

    @property
    def text_tokens(self) -> Range:
        """Of one that is sent, without the end of turn."""
        return (self.characters * self.writing.tokens).at_most(self.cap)

    @property
    def bytes(self) -> Range:
        """Of a mean answer's text, cut ones included."""
        return self.tokens * (self.writing.bytes / self.writing.tokens.expected)


@dataclass(frozen=True)
class Seen:
    """The probe's answers.

    characters: of each, in the proportion of the reference language. ended: share that ended its turn.
    limit: new tokens after which they were cut off. by_language: the answers themselves.
    """

    characters: tuple[float, ...]
    ended: float
    limit: int
    by_language: Mapping[str, StoredAnswers] = field(default_factory=dict)

    def says_all(self, max_new_tokens: int) -> bool:
        """Whether answers with this limit could not have become longer."""
        return self.ended == 1 or self.limit >= max_new_tokens

    @property
    def mean(self) -> float:
        """Characters of a mean answer, as far as it was seen."""
        return sum(self.characters) / len(self.characters) if self.characters else 0.0

    def of(self, language: str) -> StoredAnswers | None:
        """The answers in a language, where there are enough to go by."""
        found = self.by_language.get(language)
        return found if found is not None and len(found.tokens) >= _ENOUGH else None


def writings(prompts: Mapping[str, Sequence[Prompt]], counter: Counter) -> dict[str, Writing]:
    """How each language of a prompt set is written."""
    return {code: _writing([p.prompt for p in records], counter) for code, records in prompts.items()}


def _writing(texts: Sequence[str], counter: Counter) -> Writing:
    sample = texts[:_SAMPLE]
    characters = max(1, sum(map(len, sample)))
    return Writing(characters / len(sample), counter.texts(sample) / characters, utf8(sample) / characters)


def verbosities(writings: Mapping[str, Writing], dominant: str) -> dict[str, float]:
    """Characters of each language's prompts to those of English, or the dominant language's without English."""
    reference = next((code for code in ("en", dominant) if code in writings), None)
    if reference is None:
        return dict.fromkeys(writings, 1.0)
    return {code: w.characters / writings[reference].characters for code, w in writings.items()}


def from_stored(stored: StoredAnswers, writing: Writing, cap: float, basis: str = "stored answers") -> Answer:
    """What answers say of further ones; `cap`: tokens that none can exceed."""
    share = len(stored.whole) / len(stored.tokens)
    tokens = around(stored.tokens, assumed.DRIFT).at_most(cap)
    if not stored.whole:
        return Answer(tokens, Range.exact(0), Range.exact(0), writing, cap, basis)
    characters = [length for length, _ in stored.whole]
    written = sum(tokens - 1 for _, tokens in stored.whole)  # the end of turn is no text
    measured = replace(writing, tokens=Range.exact(written / max(1, sum(characters))))
    sent = (assumed.DRIFT * share).at_most(1)
    return Answer(tokens, sent, around(characters, assumed.DRIFT), measured, cap, basis)


def from_probe(
    seen: Seen, language: str, verbosity: float, writing: Writing, cap: float, max_new_tokens: int
) -> Answer | None:
    """What the probe's answers say; None where most were cut off before their time.

    A language with few answers has the length of all, in proportion. Where some were cut off, the mean of lengths
    that end at a constant rate: all that was written, by answers that ended.
    """
    own = seen.of(language)
    if own is not None and seen.says_all(max_new_tokens):
        return from_stored(own, writing, cap, _PROBED)
    if not seen.mean or (seen.ended < _MOST and not seen.says_all(max_new_tokens)):
        return None
    if seen.says_all(max_new_tokens):
        characters = around(seen.characters, assumed.DRIFT)
        sent = (assumed.DRIFT * seen.ended).at_most(1)
    else:
        characters = Range(assumed.DRIFT.low * seen.mean, seen.mean / seen.ended, math.inf)
        sent = Range(assumed.DRIFT.low * seen.ended, 1, 1)
    return _answer(characters * verbosity, sent, writing, cap, _PROBED)


def from_assumed(seen: Seen | None, verbosity: float, writing: Writing, cap: float) -> Answer:
    """What is assumed; answers that a probe cut off are at least as long as it saw them.

    Where the expected answer is longer than it may be, some are translated: those of lengths that end at a
    constant rate which end before.
    """
    characters = assumed.ANSWER_CHARACTERS.at_least(seen.mean if seen else 0) * verbosity
    tokens = (characters * writing.tokens).expected + 1
    sent = Range(0, 1 - math.exp(-cap / tokens), 1) if tokens >= cap else ONE
    return _answer(characters, sent, writing, cap, "assumed")


def from_solutions(texts: Sequence[str], writing: Writing, counter: Counter, cap: float) -> Answer:
    """The lab's own solutions; an answer of its model may still run on."""
    characters = replace(around([len(t) for t in texts], assumed.DRIFT), high=cap / writing.tokens.low)
    tokens = counter.texts(texts) / len(texts) + ONE
    own = replace(writing, tokens=counter.texts(texts) / sum(map(len, texts)))
    spread = Range(tokens.low * assumed.DRIFT.low, tokens.expected, cap)
    return Answer(
        spread.at_most(cap), Range(assumed.DRIFT.low, 1, 1), characters, own, cap, "the lab's solutions"
    )


def _answer(characters: Range, sent: Range, writing: Writing, cap: float, basis: str) -> Answer:
    tokens = (characters * writing.tokens + ONE).at_most(cap)
    fitting = Range(*(min(c, cap / writing.tokens.low) for c in vars(characters).values()))
    return Answer(tokens, sent, fitting, writing, cap, basis)


def solutions(prompts: Sequence[Prompt], config: PromptsConfig, model: ModelConfig) -> list[str]:
    """The right answers to the lab's problems, where the lab's own model is asked; else none."""
    if config.format is not PromptFormat.LAB or model.path != BUILTIN_LAB:
        return []
    from lidr.lab import world

    return [world.render_answer(world.find_problem(p.id), p.language) for p in prompts[:_SAMPLE]]


def translation_characters(
    source: Range, stored: StoredTranslations | None, verbosity: float
) -> tuple[Range, Range]:
    """Characters of a translation that ends, and the share of translations that runs on until cut off.

    Args:
        source: characters of the source.
        stored: of this direction; without them a translation is as long as the proportion of the prompts says.
        verbosity: characters of the target language's prompts to those of the source language's.
    """
    if stored is None:
        return source * verbosity, Range(0, 0, 1)
    ratio = around(stored.ratios, assumed.DRIFT)
    return source * ratio, (assumed.DRIFT * stored.cut).at_most(1)


def translated_share(stored: StoredTranslations | None) -> Range:
    """Share of the translations that are sent which hold a text, and so can be translated back."""
    return assumed.KEPT_PAIRS if stored is None else (assumed.DRIFT * stored.stands).at_most(1)


def mixed(cut: Range, ended: Range, cap: float) -> Range:
    """Tokens of a mean translation, where a share of them runs on until the cap."""
    return Range(
        (1 - cut.low) * ended.low + cut.low * cap,
        (1 - cut.expected) * ended.expected + cut.expected * cap,
        (1 - cut.high) * ended.high + cut.high * cap,
    )
