"""One record a line: the data contracts between stages (JSONL, UTF-8)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Prompt:
    """A prompt in one language; `id` is the same in every language of an aligned set."""

    id: str
    language: str
    prompt: str
    answer: str | None = None


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
class Pair:
    """A preference pair: TRL and LLaMA-Factory read it as it is.

    Origins name how a text came to be: ``en`` (answered in en), ``en->es`` (answered in en, translated).
    """

    id: str
    language: str
    prompt: str
    chosen: str
    rejected: str
    chosen_origin: str
    rejected_origin: str


Record = Prompt | Response | Translation | Pair


def to_json(record: Record) -> dict[str, Any]:
    """The record's fields in order; an absent optional answer is left out."""
    values = asdict(record)
    if isinstance(record, Prompt) and record.answer is None:
        del values["answer"]
    return values
