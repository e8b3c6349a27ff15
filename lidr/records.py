"""One record a line: the data contracts between stages (JSONL, UTF-8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

Conversation = tuple[tuple[str, str], ...]


class Turn(NamedTuple):
    """A user's turn to answer: its text, what the answer is primed with, and the (user, assistant) turns before it."""

    user: str
    prefill: str = ""
    before: Conversation = ()


@dataclass(frozen=True)
class Prompt:
    """A prompt in one language; `id` is the same in every language of an aligned set.

    follow_ups: what the user says after each answer, in a benchmark of conversations.
    """

    id: str
    language: str
    prompt: str
    answer: str | None = None
    follow_ups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Response:
    """A model's answer y^l to a prompt.

    finish_reason: ``stop`` (the model ended its turn) or ``length`` (cut at max_new_tokens).
    tokens: generated tokens, the end-of-turn token included.
    """

    id: str
    language: str
    prompt: str
    response: str
    finish_reason: str
    tokens: int


@dataclass(frozen=True)
class Translation:
    """A model's translation of a response; ``translation`` is None exactly where ``error`` says why."""

    id: str
    source_language: str
    target_language: str
    source: str
    translation: str | None
    error: str | None


@dataclass(frozen=True)
class Score:
    """How likely y^en is as the translation of one answer in another language; see `lidr.synthesis.scores`.

    sample: which answer to the prompt, 0 the model's own and the others drawn; source: its text.
    score: mean log-prob of a token, nats; None exactly where ``error`` says why. tokens: those it is a mean of.
    """

    id: str
    language: str
    sample: int
    source: str
    score: float | None
    tokens: int
    error: str | None


@dataclass(frozen=True)
class Pair:
    """A preference pair: TRL and LLaMA-Factory read it as it is.

    Origins name how a text came to be: ``en`` (answered in en), ``en->es`` (answered in en, translated), ``es#2``
    (the second answer that was drawn in es).
    """

    id: str
    language: str
    prompt: str
    chosen: str
    rejected: str
    chosen_origin: str
    rejected_origin: str


@dataclass(frozen=True)
class Reply:
    """What a judge answered.

    question: SHA-256 of what it was asked.
    ended: ``stop``, ``length``, or ``too_long`` where the question did not fit the judge's context.
    tokens: generated ones.
    log_probs: nats, of the labels among the likeliest first tokens, where they were asked for.
    """

    id: str
    question: str
    reply: str
    ended: str
    tokens: int
    log_probs: Mapping[str, float] | None = None


Record = Prompt | Response | Translation | Score | Pair | Reply
_OPTIONAL = ("answer", "follow_ups", "log_probs")


def to_json(record: Record) -> dict[str, Any]:
    """The record's fields in order; an absent optional one is left out."""
    values = asdict(record)
    for name in _OPTIONAL:
        if name in values and values[name] in (None, ()):
            del values[name]
    return values
