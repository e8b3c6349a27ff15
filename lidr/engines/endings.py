"""Where an answer ends."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from lidr.chat import ChatFormat
from lidr.engines.base import Completion, FinishReason, Request

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def stop_ids(model: PreTrainedModel, chat: ChatFormat) -> frozenset[int]:
    """Every token that ends an answer of a loaded model."""
    return ending_ids(getattr(model.generation_config, "eos_token_id", None), chat)


def ending_ids(configured: int | list[int] | None, chat: ChatFormat) -> frozenset[int]:
    """The template's end of turn, the tokenizer's end of sequence, and what the model's own settings name."""
    return frozenset([chat.end_of_turn_id, *as_ids(configured), *as_ids(chat.tokenizer.eos_token_id)])


def as_ids(configured: int | list[int] | None) -> list[int]:
    """A setting that names no token, one or several."""
    return [configured] if isinstance(configured, int) else list(configured or [])


class Endings:
    """Ends answers at stop tokens, at stop texts, and at their limit."""

    def __init__(self, chat: ChatFormat, stop_ids: frozenset[int]) -> None:
        self.chat, self.stop_ids = chat, stop_ids
        self._vocabulary: dict[str, int] = chat.tokenizer.get_vocab()
        self._closers = lru_cache(maxsize=8)(self._tokens_with)

    def completion(self, request: Request, ids: list[int], limit: int) -> Completion | None:
        """The whole answer, or None where it goes on.

        Args:
            ids: the answer's tokens so far, at least one; only the newest may end it.
        """
        if ids[-1] in self.stop_ids:
            text = first_stop(self.chat.decode(ids[:-1]), request.stop)[0]
            return Completion(request.key, text, FinishReason.STOP, len(ids))
        if request.stop and self._may_close(ids[-1], request.stop):
            text, stopped = first_stop(self.chat.decode(ids), request.stop)
            if stopped:
                return Completion(request.key, text, FinishReason.STOP, len(ids))
        if len(ids) >= limit:
            return Completion(request.key, self.chat.decode(ids), FinishReason.LENGTH, len(ids))
        return None

    def whole(self, request: Request, ids: list[int], limit: int) -> Completion:
        """The answer of a row that was written to its end or beyond: cut after its first ending."""
        for end in range(1, len(ids) + 1):
            found = self.completion(request, ids[:end], limit)
            if found is not None:
                return found
        return Completion(request.key, self.chat.decode(ids), FinishReason.LENGTH, len(ids))

    def _may_close(self, token: int, stops: tuple[str, ...]) -> bool:
        return any(not _is_plain(stop[-1]) or token in self._closers(stop[-1]) for stop in stops)

    def _tokens_with(self, character: str) -> frozenset[int]:
        return frozenset(i for token, i in self._vocabulary.items() if character in token)


def _is_plain(character: str) -> bool:
    """Whether vocabularies write a character as itself: they have signs of their own for blanks and bytes."""
    return "!" <= character <= "~"


def first_stop(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """A text up to and including the first stop text in it, and whether there is one."""
    found = [(text.find(stop), stop) for stop in stops if stop in text]
    if not found:
        return text, False
    place, stop = min(found)
    return text[: place + len(stop)], True
