"""The engine protocol: requests in, completions out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from lidr.config import SamplingConfig
from lidr.records import Conversation, Turn


class FinishReason(StrEnum):
    """stop: the model ended its turn, or a stop text came. length: cut off. too_long: the prompt leaves no room.

    The context ends an answer as max_new_tokens does; a request whose prompt fills it is not answered at all.
    """

    STOP = "stop"
    LENGTH = "length"
    TOO_LONG = "too_long"


@dataclass(frozen=True)
class Request:
    """One user turn to answer.

    key: names the request within its stage; completions carry it back.
    user: the user's message.
    prefill: text the answer is primed with; the completion's text does not repeat it.
    stop: texts after which the answer ends; the first of them to come stays at its end.
    opening: what `user` begins with, as other requests' do; an engine may compute it once for all of them.
    before: earlier turns of the conversation, (user, assistant) each.
    labels: texts whose log-probs are wanted: of an endpoint as the answer's first token, of a
        `lidr.engines.scorer.Scorer` as the whole of it.
    draw: which of several sampled answers to the same prompt this is.
    """

    key: str
    user: str
    prefill: str = ""
    stop: tuple[str, ...] = ()
    opening: str = ""
    before: Conversation = ()
    labels: tuple[str, ...] = ()
    draw: int = 0

    @property
    def turn(self) -> Turn:
        return Turn(self.user, self.prefill, self.before)


@dataclass(frozen=True)
class Completion:
    """What the model wrote after the prefill.

    text: empty where the model ended its turn at once.
    tokens: generated tokens, the end-of-turn token included; a scorer's are those of the labels.
    log_probs: nats, of the request's labels that are among the likeliest first tokens, or of whole labels by a scorer;
        None where it has no labels.
    """

    key: str
    text: str
    finish_reason: FinishReason
    tokens: int
    log_probs: Mapping[str, float] | None = None


@runtime_checkable
class Engine(Protocol):
    """Generates text with one model."""

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """Yields completions as they finish, a few at a time, each request's at most once, in any order.

        An answer is a function of its request, the sampling and the engine's seed: as far as the engine's
        arithmetic allows, it does not depend on what else is answered at the same time, so that a stage that
        starts again ends with the same answers. `docs/engines.md` says how far that goes for each engine.

        Args:
            requests: all requests of the job, done ones included; read as they are needed, never all at once.
            sampling: how tokens are chosen.
            done: keys whose completions are stored; they are not answered again. It grows as what was yielded is
                stored.

        Raises:
            LidrError: the engine cannot go on; what was yielded stands.
        """
        ...
