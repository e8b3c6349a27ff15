"""Requests as token ids, in the order in which they are best answered; a window of them is in memory at a time."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.records import Turn

WINDOW = 1024  # requests
_WORTH_SHARING = 8  # tokens
_CONTINUATIONS = ("x", "X", "0", " x", "\n", ".", "é", "中")


@dataclass(frozen=True)
class Prepared:
    """A request that is to be answered.

    prompt: token ids; its first `shared` are those of every prompt with its opening.
    limit: tokens of the answer at most, by max_new_tokens and by the context.
    """

    request: Request
    prompt: list[int]
    shared: int
    limit: int


@dataclass(frozen=True)
class Window:
    """Requests that are sorted.

    too_long: completions of those whose prompts leave no room for an answer.
    """

    requests: list[Prepared]
    too_long: list[Completion]


def windows(
    requests: Iterable[Request],
    chat: ChatFormat,
    sampling: SamplingConfig,
    context: int | None,
    done: Container[str],
) -> Iterator[Window]:
    """The requests that are not done, the longest first, so that what is left in the end is short."""
    source, openings = iter(requests), _Openings(chat)
    while chunk := list(itertools.islice(source, WINDOW)):
        left = [request for request in chunk if request.key not in done]
        prompts = chat.batch_prompt_ids([r.turn for r in left])
        ready = [
            Prepared(r, prompt, openings.shared(r, prompt), _limit(len(prompt), sampling, context))
            for r, prompt in zip(left, prompts, strict=True)
        ]
        too_long = [Completion(r.request.key, "", FinishReason.TOO_LONG, 0) for r in ready if r.limit < 1]
        fitting = sorted((r for r in ready if r.limit > 0), key=lambda r: -len(r.prompt))
        yield Window(fitting, too_long)


def _limit(prompt: int, sampling: SamplingConfig, context: int | None) -> int:
    return sampling.max_new_tokens if context is None else min(sampling.max_new_tokens, context - prompt)


class _Openings:
    """Token ids that prompts with the same opening begin with, whatever follows."""

    def __init__(self, chat: ChatFormat) -> None:
        self.chat = chat
        self._known: dict[str, list[int]] = {}

    def shared(self, request: Request, prompt: list[int]) -> int:
        """How many of a prompt's ids those are: a function of the request alone; 0 where it is not worth it."""
        ids = self._known.get(request.opening)
        if ids is None:
            ids = self._known[request.opening] = self._begin(request.opening)
        begins = len(prompt) > len(ids) >= _WORTH_SHARING and prompt[: len(ids)] == ids
        return len(ids) if begins else 0

    def _begin(self, opening: str) -> list[int]:
        prompts = self.chat.batch_prompt_ids([Turn(opening + more) for more in _CONTINUATIONS])
        low, high = min(prompts), max(prompts)  # what these two share, all share
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(low, high, strict=False))
        return [token for token, _ in same]
