"""One request until it is answered: sent again where that may help, counted, and given up in one line."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from random import Random
from typing import Any

from lidr.config import EndpointApi, SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.engines.endpoint_answers import Answer, FaultError, RefusedError, context_limit, shown
from lidr.engines.endpoint_budget import Hold
from lidr.engines.endpoint_client import Client
from lidr.engines.endpoint_prompts import Prompt, Prompts
from lidr.engines.endpoint_target import Target
from lidr.engines.endpoint_usage import Usage
from lidr.engines.seeds import request_seed
from lidr.errors import LidrError

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds; the wait doubles from one attempt to the next
_TOP_LOG_PROBS = {EndpointApi.CHAT: 20, EndpointApi.COMPLETIONS: 5}  # what servers list at most
_DOUBLINGS = 32  # of a wait, at most: a float holds no more than 1,023
_WITHHELD = "content_filter"


@dataclass(frozen=True)
class Question:
    """A request with its prompt. room: tokens of an answer, at most; 0: the prompt fills the context."""

    request: Request
    prompt: Prompt
    room: int

    @property
    def worst(self) -> Usage:
        """What it takes at most."""
        return Usage(prompt_tokens=self.prompt.tokens, completion_tokens=self.room)


class Asker:
    """Puts questions to the server.

    Args:
        target: the server.
        sampling: how tokens are chosen.
        seed: of sampling, and of the waits between attempts.
        prompts: the form of prompts.
        client: the connection.

    Attributes:
        stopping: set once a request has failed for good; then nothing is sent again.
    """

    def __init__(
        self,
        target: Target,
        sampling: SamplingConfig,
        seed: int,
        prompts: Prompts,
        client: Client,
    ) -> None:
        self._target, self._endpoint, self._sampling, self._seed = target, target.endpoint, sampling, seed
        self._prompts, self._client = prompts, client
        self._context, self._names_stop = prompts.context, False
        self._seen: set[str] = set()
        self.stopping = asyncio.Event()

    def question(self, request: Request) -> Question:
        """What is asked for a request."""
        prompt, room = self._prompts.prompt(request), self._sampling.max_new_tokens
        if self._context is not None:
            room = max(0, min(room, self._context - prompt.tokens))
        return Question(request, prompt, room)

    async def ask(self, question: Question, hold: Hold) -> Completion:
        """The server's completion; what is held for it is given back in any case.

        Raises:
            LidrError: there is none, after as many attempts as may be made.
        """
        waits = Random(request_seed(self._seed, question.request.key))
        faults, room = 0, question.room
        with hold:
            while True:
                try:
                    answer = await self._client.send(self._fields(question, room))
                    break
                except RefusedError as refusal:
                    room = self._smaller(refusal, question, room)
                    if not room:
                        return self._unanswered(question, refusal)
                except FaultError as fault:
                    faults += 1
                    if fault.usage is not None:
                        hold.charge(fault.usage)
                        hold.renew()
                    await self._wait(fault, faults, waits)
            used = answer.usage or self._counted(question, answer)
            hold.charge(used)
        return self._completion(question.request, answer, used)

    def _fields(self, question: Question, room: int) -> dict[str, Any]:
        sampling, request = self._sampling, question.request
        fields = {**question.prompt.fields, "model": self._target.model, "max_tokens": room}
        fields["temperature"] = sampling.temperature
        if sampling.temperature > 0:
            fields |= {"top_p": sampling.top_p, "seed": request_seed(self._seed, request.key, request.draw)}
        if sampling.repetition_penalty != 1:
            fields["extra_body"] = {"repetition_penalty": sampling.repetition_penalty}
        if self._names_stop and request.stop:
            fields["stop"] = list(request.stop)
        if request.labels:
            count, chat = _TOP_LOG_PROBS[self._endpoint.api], self._endpoint.api is EndpointApi.CHAT
            fields |= {"logprobs": True, "top_logprobs": count} if chat else {"logprobs": count}
        return fields

    def _completion(self, request: Request, answer: Answer, used: Usage) -> Completion:
        self._names_stop |= answer.names_stop
        text, reason = answer.ended(request, self._endpoint.api)
        log_probs = answer.label_log_probs(request.labels) if request.labels else None
        return Completion(request.key, text, reason, used.completion_tokens, log_probs)

    def _counted(self, question: Question, answer: Answer) -> Usage:
        """What an answer took, where the server does not say."""
        tokens = min(question.room, self._prompts.answer_tokens(answer.text))
        return Usage(prompt_tokens=question.prompt.tokens, completion_tokens=tokens)

    def _smaller(self, refusal: RefusedError, question: Question, room: int) -> int:
        """Tokens of an answer to ask for instead; 0: the request cannot be answered.

        Raises:
            LidrError: the refusal is about something else.
        """
        found = context_limit(refusal)
        if found is None:
            if refusal.code == _WITHHELD:
                return 0
            raise self._refused(refusal)
        known = question.prompt.tokens if self._prompts.counts else None
        if known is not None and found.limit is not None:
            self._context = min(found.limit, self._context or found.limit)
        return found.room(room, known)

    def _unanswered(self, question: Question, refusal: RefusedError) -> Completion:
        """A prompt that is too long, or one the server will not answer, which counts as cut off at once."""
        withheld = refusal.code == _WITHHELD
        reason = FinishReason.LENGTH if withheld else FinishReason.TOO_LONG
        return Completion(question.request.key, "", reason, 0)

    async def _wait(self, fault: FaultError, faults: int, waits: Random) -> None:
        """Waits before another attempt; ends early where none is to be made.

        Raises:
            LidrError: none is to be made.
        """
        if faults > self._endpoint.retries:
            raise self._gave_up(f"the server {fault.what}, {_times(faults)}")
        if fault.wait > self._endpoint.timeout:
            raise self._gave_up(f"the server {fault.what}, and asks to wait {fault.wait:.0f} s")
        kind = fault.what.partition(" (")[0]
        if kind not in self._seen:
            self._seen.add(kind)
            log.info("%s: the server %s; such requests are sent again", self._endpoint.url, fault.what)
        backoff = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(faults - 1, _DOUBLINGS)) * waits.uniform(0.5, 1.0)
        try:
            async with asyncio.timeout(max(backoff, fault.wait)):
                await self.stopping.wait()
        except TimeoutError:
            return
        raise self._gave_up(f"the server {fault.what}")

    def _gave_up(self, what: str) -> LidrError:
        return LidrError(
            what,
            where=self._endpoint.url,
            instead="see to the server and run the same command again: it goes on",
        )

    def _refused(self, refusal: RefusedError) -> LidrError:
        return LidrError(
            f"the server answered {refusal.status}: {shown(refusal.message)}",
            where=self._endpoint.url,
            instead=self._advice(refusal),
        )

    def _advice(self, refusal: RefusedError) -> str:
        if "repetition_penalty" in refusal.message:
            return "type engine.sampling.repetition_penalty=1 (translator.sampling, evaluation: the same)"
        if refusal.status in (401, 403):
            return f"export {self._endpoint.key_variable}=<a key the server takes> and run the same command again"
        if refusal.status == 404:
            names = f"{self._endpoint.url.rstrip('/')}/models"
            return f"type {self._target.key('model')}=<a name that {names} lists>, or another {self._target.key('url')}"
        return "change what it complains about and run the same command again: it goes on"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times in a row"
