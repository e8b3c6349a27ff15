"""The engine protocol: requests in, completions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from lidr.config import SamplingConfig


@dataclass(frozen=True)
class Request:
    """One user turn to answer.

    key: names the request within its stage; completions carry it back.
    user: the user's message.
    prefill: text the answer is primed with; the completion's text does not repeat it.
    """

    key: str
    user: str
    prefill: str = ""


@dataclass(frozen=True)
class Completion:
    """What the model wrote after the prefill.

    finish_reason: ``stop`` or ``length``.
    tokens: generated tokens, the end-of-turn token included.
    """

    key: str
    text: str
    finish_reason: str
    tokens: int


@runtime_checkable
class Engine(Protocol):
    """Generates text with one model."""

    def stream(
        self, requests: Sequence[Request], sampling: SamplingConfig, done: Set[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """Yields completions in batches as they finish, each request's at most once.

        Batches are a function of `requests` alone, so that a stage that starts again with the same requests
        forms the same batches and writes the same bytes: a batch whose keys are all in `done` is skipped, one
        that is partly done is generated again and only its missing completions are yielded.

        Args:
            requests: all requests of the job, done ones included.
            sampling: how tokens are chosen.
            done: keys whose completions an earlier attempt stored.

        Raises:
            LidrError: a prompt does not fit the model's context.
        """
        ...
