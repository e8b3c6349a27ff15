"""`pairs.jsonl` as token ids, cut to max_length."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lidr.chat import ChatFormat
from lidr.config import PairType, TooLong
from lidr.errors import LidrError
from lidr.records import Pair, Turn
from lidr.synthesis import read

log = logging.getLogger(__name__)

TOKENISE_AT_ONCE = 1024


@dataclass(frozen=True)
class TokenPair:
    """A pair as token ids (32 bit, unpadded); `rejected` is None where the objective does not read it."""

    id: str
    language: str
    type: PairType
    prompt: array[int]
    chosen: array[int]
    rejected: array[int] | None

    @property
    def longest(self) -> int:
        """Tokens of the longer of its rows, prompt included."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected or ()))

    @property
    def tokens(self) -> int:
        """Tokens through the model's body, the prompt counted once per row."""
        if self.rejected is None:
            return len(self.prompt) + len(self.chosen)
        return 2 * len(self.prompt) + len(self.chosen) + len(self.rejected)


@dataclass(frozen=True)
class TokenPairs:
    """All pairs that are trained on, and how many of those read were cut or left out."""

    pairs: tuple[TokenPair, ...]
    truncated: int
    dropped: int

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(pair.longest for pair in self.pairs)


def pair_type(pair: Pair, dominant: str | None = None) -> PairType:
    """en in the dominant language, nl in others; where none is named, nl where the chosen answer left its language."""
    if dominant is not None:
        return PairType.EN if pair.language == dominant else PairType.NL
    route = pair.chosen_origin.split("->")
    return PairType.EN if route[0] == route[-1] else PairType.NL


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file.

    Raises:
        LidrError: the file is missing or empty, or a record lacks a field or holds another type than text.
    """
    pairs = list(read.pairs(path))
    if not pairs:
        raise LidrError(
            "there are no pairs to train on",
            where=str(path),
            instead=f"see {path.with_name('audit.json')} for why each pair was dropped",
        )
    return pairs


def tokenise(
    pairs: Sequence[Pair],
    chat: ChatFormat,
    max_length: int,
    too_long: TooLong,
    *,
    with_rejected: bool,
    dominant: str | None = None,
) -> TokenPairs:
    """Tokenises pairs in large batches and applies max_length (tokens of prompt + response).

    `truncate` cuts a response's end, its end-of-turn token included, so that the model does not learn to stop
    there; a pair whose prompt leaves no room for a response is dropped all the same. `drop` drops every pair
    that is too long. Both are counted, and logged.
    """
    kept: list[TokenPair] = []
    truncated = 0
    for start in range(0, len(pairs), TOKENISE_AT_ONCE):
        for pair in _encode(pairs[start : start + TOKENISE_AT_ONCE], chat, with_rejected, dominant):
            fits = pair.longest <= max_length
            if fits or (too_long is TooLong.TRUNCATE and len(pair.prompt) < max_length):
                kept.append(pair if fits else _cut(pair, max_length))
                truncated += not fits
    dropped = len(pairs) - len(kept)
    _report(len(pairs), truncated, dropped, max_length)
    return TokenPairs(tuple(kept), truncated, dropped)


def _encode(
    pairs: Sequence[Pair], chat: ChatFormat, with_rejected: bool, dominant: str | None
) -> list[TokenPair]:
    prompts = chat.batch_prompt_ids([Turn(p.prompt) for p in pairs])
    chosen = chat.batch_response_ids([p.chosen for p in pairs])
    rejected = chat.batch_response_ids([p.rejected for p in pairs]) if with_rejected else [None] * len(pairs)
    return [
        TokenPair(
            p.id,
            p.language,
            pair_type(p, dominant),
            prompt=array("i", x),
            chosen=array("i", y_w),
            rejected=None if y_l is None else array("i", y_l),
        )
        for p, x, y_w, y_l in zip(pairs, prompts, chosen, rejected, strict=True)
    ]


def _cut(pair: TokenPair, max_length: int) -> TokenPair:
    room = max_length - len(pair.prompt)
    rejected = None if pair.rejected is None else pair.rejected[:room]
    return TokenPair(pair.id, pair.language, pair.type, pair.prompt, pair.chosen[:room], rejected)


def _report(total: int, truncated: int, dropped: int, max_length: int) -> None:
    level = logging.WARNING if truncated or dropped else logging.INFO
    log.log(
        level,
        "%d pairs: %d cut to training.max_length=%d tokens, %d dropped as too long",
        total,
        truncated,
        max_length,
        dropped,
    )
