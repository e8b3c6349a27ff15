"""What is sent to a server for a request: its prompt as text, as token ids or as messages."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Protocol

from lidr.chat import ChatFormat, conversation
from lidr.config import EndpointApi, ModelConfig
from lidr.engines.base import Request
from lidr.engines.endings import as_ids
from lidr.errors import LidrError
from lidr.importing import importing

log = logging.getLogger(__name__)

_MESSAGE_TOKENS = (
    64  # what a server's template may put around a message, its own default system prompt included
)
_SERVER_DEFAULTS = ("repetition_penalty", "top_k", "min_p", "typical_p")


@dataclass(frozen=True)
class Prompt:
    """fields: those of the request that hold the prompt. tokens: their number, or an upper bound of it."""

    fields: dict[str, Any]
    tokens: int


class Prompts(Protocol):
    """How an API takes prompts.

    Attributes:
        counts: whether numbers of tokens are exact.
        context: tokens of prompt and answer together, at most; None: unknown.
    """

    counts: bool
    context: int | None

    def prompt(self, request: Request) -> Prompt:
        """The request's prompt."""
        ...

    def answer_tokens(self, text: str) -> int:
        """Tokens of an answer, or an upper bound."""
        ...


def prompts_for(api: EndpointApi, model: ModelConfig, path: str) -> Prompts:
    """The prompts of an API for the model whose tokenizer lies at `path`; messages need none.

    Raises:
        LidrError: the prompt is templated here, and there is no tokenizer, or it has no chat template.
    """
    if api is EndpointApi.CHAT:
        return _Messages(model.system_prompt)
    with importing():
        from lidr.models import load_tokenizer, whole_weights
    chat = ChatFormat(load_tokenizer(path, model.revision), model.system_prompt)
    base, revision = whole_weights(path, model.revision)
    _warn_of_defaults(base, revision, chat)
    return _Templated(chat, _context(base, revision))


class _Templated:
    """A completion's prompt, which the tokenizer turns into the same tokens as in the process's own engines.

    Servers tokenize text with special tokens, so that a begin-of-sequence token that the tokenizer adds must not
    stand in the text too. Where no text gives the right tokens, the tokens themselves are sent.
    """

    counts = True

    def __init__(self, chat: ChatFormat, context: int | None) -> None:
        self._chat, self.context = chat, context

    def prompt(self, request: Request) -> Prompt:
        ids = self._chat.prompt_ids(request.user, request.prefill, request.before)
        text = self._chat.prompt_text(request.user, request.prefill, request.before)
        bare = text.removeprefix(str(self._chat.tokenizer.bos_token or ""))
        for candidate in dict.fromkeys((bare, text)):
            if self._chat.tokenizer(candidate)["input_ids"] == ids:
                return Prompt({"prompt": candidate}, len(ids))
        return Prompt({"prompt": ids}, len(ids))

    def answer_tokens(self, text: str) -> int:
        return len(self._chat.response_ids(text))


class _Messages:
    """A chat's messages. The server's tokenizer is its own: tokens are bounded by bytes, of which each takes one."""

    counts = False

    def __init__(self, system_prompt: str | None) -> None:
        self._system = [{"role": "system", "content": system_prompt}] if system_prompt else []
        self.context: int | None = None

    def prompt(self, request: Request) -> Prompt:
        messages = [*self._system, *conversation(request.before), {"role": "user", "content": request.user}]
        tokens = sum(_bytes(m["content"]) + _MESSAGE_TOKENS for m in messages)
        return Prompt({"messages": messages}, tokens)

    def answer_tokens(self, text: str) -> int:
        return _bytes(text) + 1


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _context(path: str, revision: str | None) -> int | None:
    from lidr.models import load_config

    try:
        config = load_config(path, revision).get_text_config()
    except LidrError:
        return None
    limit = getattr(config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) else None


def _warn_of_defaults(path: str, revision: str | None, chat: ChatFormat) -> None:
    """Servers take from generation_config.json what a request does not say, and what ends an answer."""
    from transformers import GenerationConfig

    try:
        settings = GenerationConfig.from_pretrained(path, revision=revision or "main")
    except (OSError, ValueError):
        return
    named = {name: getattr(settings, name, None) for name in _SERVER_DEFAULTS}
    if others := {name: value for name, value in named.items() if value not in (None, 0, 1.0)}:
        log.warning(
            "generation_config.json of %s sets %s, which a server applies too"
            " (vLLM does not when started with --generation-config vllm)",
            path,
            ", ".join(f"{name}={value}" for name, value in others.items()),
        )
    if chat.end_of_turn_id not in as_ids(settings.eos_token_id):
        log.warning(
            "generation_config.json of %s does not name %r as an end of answers: a server may run on after it",
            path,
            chat.tokenizer.convert_ids_to_tokens(chat.end_of_turn_id),
        )
