"""What a server sends back: answers, and the reasons why there is none."""

from __future__ import annotations

import json
import math
import re
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lidr.config import EndpointApi
from lidr.engines.base import FinishReason, Request
from lidr.engines.endings import first_stop
from lidr.engines.endpoint_usage import Usage

_LENGTH = 200  # characters of a server's message that are shown
_SECRET_LENGTH = 8  # shorter keys are words that stand for none
_FINISH = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.LENGTH,  # the server cut it off
    "tool_calls": FinishReason.STOP,
    "function_call": FinishReason.STOP,
}
_ABOUT_THE_REQUEST = (400, 413, 422)
_CONTEXT = re.compile(r"context.?(?:length|size|window)|max_model_len", re.IGNORECASE)
_NUMBER = "([0-9]{1,12})(?![0-9])"  # tokens
_LIMIT = re.compile(
    rf"(?:context (?:length|size|window)|max_model_len)[^0-9]{{0,24}}{_NUMBER}", re.IGNORECASE
)
_PROMPT = re.compile(
    rf"(?<![0-9]){_NUMBER} (?:input tokens|in (?:the|your) (?:messages|prompt))"
    rf"|resulted in {_NUMBER} tokens|request \({_NUMBER} tokens\)",
    re.IGNORECASE,
)
_MOST = 2**40  # tokens of a request that are believed


class FaultError(Exception):
    """An attempt that may succeed when it is made again.

    what: what the server did. wait: seconds it asks to wait. usage: what it took all the same.
    """

    def __init__(self, what: str, wait: float = 0.0, usage: Usage | None = None) -> None:
        self.what, self.wait, self.usage = what, wait, usage
        super().__init__(what)


class RefusedError(Exception):
    """An attempt that the server refuses, and would refuse again."""

    def __init__(self, status: int, message: str, code: str) -> None:
        self.status, self.message, self.code = status, message, code
        super().__init__(message)


@dataclass(frozen=True)
class Answer:
    """names_stop: whether the server says which stop text ended an answer; stopped_by: the one that did.

    first_tokens: the likeliest first tokens with their log-probs, nats; none where the server does not say.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage | None
    names_stop: bool
    stopped_by: str | None
    first_tokens: tuple[tuple[str, float], ...] = ()

    def label_log_probs(self, labels: Sequence[str]) -> dict[str, float]:
        """log P of each label as the first token, in every spelling of it: with spaces, in another case."""
        found: dict[str, float] = {}
        by_name = {label.casefold(): label for label in labels}
        for token, log_prob in self.first_tokens:
            label = by_name.get(token.strip().casefold())
            if label is not None:
                found[label] = found.get(label, 0.0) + math.exp(log_prob)
        return {label: math.log(share) for label, share in found.items() if share > 0}

    def ended(self, request: Request, api: EndpointApi) -> tuple[str, FinishReason]:
        """What the model wrote after the prefill, up to and including the first stop text, and what ended it."""
        text, prefill = self.text, request.prefill.strip()
        if api is EndpointApi.CHAT and prefill and text.lstrip().startswith(prefill):
            text = text.lstrip().removeprefix(prefill)
        if self.stopped_by in request.stop and not text.endswith(str(self.stopped_by)):
            text += str(self.stopped_by)
        text, stopped = first_stop(text, request.stop)
        return text, FinishReason.STOP if stopped else self.finish_reason


class _Message(BaseModel):
    model_config = ConfigDict(strict=True)
    content: str | None = None


class _Choice(BaseModel):
    model_config = ConfigDict(strict=True)
    text: str | None = None
    message: _Message | None = None
    finish_reason: str
    stop_reason: Any = None
    logprobs: Any = None


class _Body(BaseModel):
    choices: Any = None
    usage: Any = None


class _Choices(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


def read_answer(body: bytes, api: EndpointApi) -> Answer:
    """The answer that a response's body holds.

    Raises:
        FaultError: there is none; what the body says of usage is kept.
    """
    try:
        found = _Body.model_validate_json(body)
    except ValidationError:
        raise FaultError(
            "answered with something that is no JSON object" if body else "answered with nothing"
        ) from None
    usage = _usage(found.usage)
    try:
        choice = _Choices.model_validate({"choices": found.choices}).choices[0]
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise FaultError(
            f"answered without an answer ({place}: {error.errors()[0]['msg']})", usage=usage
        ) from None
    if choice.finish_reason not in _FINISH:
        raise FaultError(f"ended an answer for the reason {choice.finish_reason[:40]!r}", usage=usage)
    if (choice.message if api is EndpointApi.CHAT else choice.text) is None:
        raise FaultError("answered without a text", usage=usage)
    return Answer(
        text=(choice.message.content if choice.message else choice.text) or "",
        finish_reason=_FINISH[choice.finish_reason],
        usage=usage,
        names_stop="stop_reason" in choice.model_fields_set,
        stopped_by=choice.stop_reason if isinstance(choice.stop_reason, str) else None,
        first_tokens=_first_tokens(choice.logprobs),
    )


class _Token(BaseModel):
    token: str
    logprob: float = Field(le=0, allow_inf_nan=False)


class _Position(BaseModel):
    top_logprobs: list[_Token]


class _ChatLogprobs(BaseModel):
    content: list[_Position] = Field(min_length=1)


class _TextLogprobs(BaseModel):
    top_logprobs: list[dict[str, float]] = Field(min_length=1)


def _first_tokens(reported: Any) -> tuple[tuple[str, float], ...]:
    """In the form of chats, or of completions."""
    try:
        return tuple(
            (t.token, t.logprob) for t in _ChatLogprobs.model_validate(reported).content[0].top_logprobs
        )
    except ValidationError:
        pass
    try:
        first = _TextLogprobs.model_validate(reported).top_logprobs[0]
    except ValidationError:
        return ()
    return tuple((token, value) for token, value in first.items() if math.isfinite(value) and value <= 0)


def _usage(reported: Any) -> Usage | None:
    try:
        usage = Usage.model_validate(reported)
    except ValidationError:
        return None
    return usage if usage.tokens <= _MOST else None


def error_message(body: str) -> tuple[str, str]:
    """Message and code of an error response, in the forms of OpenAI, vLLM and FastAPI, or the text itself."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return body, ""
    if isinstance(found, dict) and isinstance(found.get("error"), dict):
        found = found["error"]
    if not isinstance(found, dict):
        return body, ""
    message = next((found[k] for k in ("message", "detail", "error") if found.get(k)), body)
    return str(message), str(found.get("code") or "")


def redacted(text: str, secret: str | None) -> str:
    """A text without the key, which servers repeat when they refuse it."""
    return text.replace(secret, "***") if secret and len(secret) >= _SECRET_LENGTH else text


def shown(text: str) -> str:
    """The first line of a server's message without control characters, and not long."""
    line = next((line for line in text.splitlines() if line.strip()), "no message")
    clean = "".join(" " if unicodedata.category(c).startswith("C") else c for c in line)
    clean = " ".join(clean.split())
    return clean if len(clean) <= _LENGTH else clean[: _LENGTH - 1] + "…"


def seconds_to_wait(headers: Mapping[str, str]) -> float:
    """What Retry-After asks for, in seconds; 0 where it asks for nothing or is unreadable.

    A date is one of the server's clock, and so is compared with the answer's own, where it has one.
    """
    value = headers.get("retry-after", "")
    try:
        return max(0.0, min(float(value), 1e9))
    except ValueError:
        pass
    until, now = _moment(value), _moment(headers.get("date", ""))
    return 0.0 if until is None else max(0.0, until - (time.time() if now is None else now))


def _moment(value: str) -> float | None:
    """Seconds since 1970 of a date in a header, None where it is none."""
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None


@dataclass(frozen=True)
class ContextLimit:
    """What a refusal says of the context. limit, prompt: tokens, None where it does not say.

    at_least: whether the prompt may have more tokens than that.
    """

    limit: int | None
    prompt: int | None
    at_least: bool

    def room(self, asked: int, prompt: int | None) -> int:
        """Tokens of an answer to ask for instead, fewer than were asked for; 0: the prompt leaves no room.

        Args:
            asked: tokens of an answer that were asked for.
            prompt: tokens of the prompt, where they are known here.
        """
        if self.limit is None:
            return 0
        room = self.limit - (prompt or self.prompt or 0)
        if self.at_least and prompt is None:
            room = min(room, asked // 2)
        return room if 0 < room < asked else 0


def context_limit(refusal: RefusedError) -> ContextLimit | None:
    """What a refusal says of the context, None where it is about something else."""
    if refusal.status not in _ABOUT_THE_REQUEST or not _CONTEXT.search(f"{refusal.message} {refusal.code}"):
        return None
    limit, prompt = _LIMIT.search(refusal.message), _PROMPT.search(refusal.message)
    return ContextLimit(
        limit=int(limit[1]) if limit else None,
        prompt=int(next(filter(None, prompt.groups()))) if prompt else None,
        at_least="at least" in refusal.message,
    )
