"""Tokens of prompts and texts: counted by the model's own tokenizer, or estimated where it is not at hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lidr.config import ModelConfig
from lidr.errors import LidrError
from lidr.estimate import assumed
from lidr.estimate.files import local_folder
from lidr.estimate.ranges import NOTHING, Range
from lidr.estimate.sizes import utf8
from lidr.printable import short
from lidr.records import Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lidr.chat import ChatFormat

_GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")


class Counter(Protocol):
    """Counts tokens. `basis` says how, in words."""

    basis: str

    def prompts(self, turns: Sequence[Turn]) -> Range:
        """Tokens of prompts as the chat template renders them, all together."""
        ...

    def texts(self, texts: Sequence[str]) -> Range:
        """Tokens of plain texts, all together."""
        ...


class TokenizerCounter:
    """Exact. Remembers every text: the jobs of a grid share their prompts."""

    def __init__(self, chat: ChatFormat, name: str) -> None:
        self.basis = f"counted by the tokenizer of {name}"
        self._chat = chat
        self._prompts: dict[Turn, int] = {}
        self._texts: dict[str, int] = {}

    def prompts(self, turns: Sequence[Turn]) -> Range:
        new = [turn for turn in dict.fromkeys(turns) if turn not in self._prompts]
        self._prompts |= zip(new, map(len, self._chat.batch_prompt_ids(new)), strict=True)
        return Range.exact(sum(self._prompts[turn] for turn in turns))

    def texts(self, texts: Sequence[str]) -> Range:
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        ids = self._chat.batch_response_ids(new)
        self._texts |= zip(new, (len(i) - 1 for i in ids), strict=True)
        return Range.exact(sum(self._texts[text] for text in texts))


class ByteCounter:
    """By UTF-8 bytes, as `assumed` says."""

    def __init__(self, model: ModelConfig) -> None:
        self.basis = f"estimated by bytes: the tokenizer of {model.path} is not on this machine"
        system = self.texts([model.system_prompt] if model.system_prompt else [])
        self._template = assumed.TEMPLATE_TOKENS + system

    def prompts(self, turns: Sequence[Turn]) -> Range:
        texts = [text for turn in turns for text in (turn.user, turn.prefill, *chain(*turn.before))]
        return self.texts(texts) + self._template * sum(1 + len(turn.before) for turn in turns)

    def texts(self, texts: Sequence[str]) -> Range:
        size = utf8(texts)
        per = assumed.BYTES_PER_TOKEN
        return Range(size / per.low, size / per.expected, size / per.high) if size else NOTHING


@lru_cache(maxsize=4)
def counter_of(model: ModelConfig) -> Counter:
    """The counter for a model's prompts; nothing is fetched from anywhere.

    Raises:
        LidrError: the tokenizer is on this machine, and cannot be loaded or has no chat template.
    """
    from lidr.chat import ChatFormat  # imports transformers, which other commands need not wait for

    folder = local_folder(model)
    if folder is None:
        return ByteCounter(model)
    tokenizer = _generic(folder) or _other(folder)
    if tokenizer is None:
        return ByteCounter(model)
    return TokenizerCounter(ChatFormat(tokenizer, model.system_prompt), model.path)


def _generic(folder: Path) -> PreTrainedTokenizerBase | None:
    """A tokenizer that needs no class of its own, and so no torch, which takes seconds to import."""
    from transformers import PreTrainedTokenizerFast

    try:
        named = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))["tokenizer_class"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if named not in _GENERIC or not (folder / "tokenizer.json").is_file():
        return None
    try:
        tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(str(folder))
    except Exception as error:  # the tokenizers library raises plain exceptions
        raise LidrError(
            f"no loadable tokenizer ({short(error)})",
            where=str(folder / "tokenizer.json"),
            instead="copy the model folder again",
        ) from error
    return tokenizer


def _other(folder: Path) -> PreTrainedTokenizerBase | None:
    from lidr.models import load_tokenizer

    try:
        return load_tokenizer(str(folder))
    except LidrError:
        return None
