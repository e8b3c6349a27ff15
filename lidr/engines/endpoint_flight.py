"""Many requests on their way to a server at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NoReturn

from lidr.engines.base import Completion, FinishReason, Request
from lidr.engines.endpoint_asking import Asker, Question
from lidr.engines.endpoint_budget import Budget
from lidr.errors import LidrError


class Flight:
    """Keeps up to `concurrency` requests on their way; requests are read as they are sent.

    Once one has failed for good nothing more is sent, and what is on its way is waited for: it is paid for.

    Args:
        requests: what to ask, in this order.
        asker: asks.
        budget: a request that does not fit waits until others have landed and taken less than was held for them.
        concurrency: requests on their way, at most.
    """

    def __init__(self, requests: Iterator[Request], asker: Asker, budget: Budget, concurrency: int) -> None:
        self._requests, self._asker, self._budget = requests, asker, budget
        self._concurrency = concurrency
        self._next: Question | None = None
        self._tasks: dict[asyncio.Task[Completion], None] = {}
        self._error: LidrError | None = None
        self._landed = 0

    async def land(self) -> list[Completion]:
        """The next completions, in the order in which they were asked for; empty when all have landed.

        Raises:
            LidrError: a request failed for good, and all that were on their way have landed.
        """
        while True:
            landed = self._launch()
            if not landed and self._tasks:
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                landed = [c for task in [t for t in self._tasks if t in done] if (c := self._result(task))]
            if landed:
                self._landed += len(landed)
                return landed
            if not self._tasks:
                if self._error is not None:
                    self._raise(self._error)
                return []

    async def close(self) -> None:
        """Gives up what is on its way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _launch(self) -> list[Completion]:
        """Sends as many requests as may be on their way; returns those that no model could answer."""
        full: list[Completion] = []
        while self._error is None and len(self._tasks) + len(full) < self._concurrency:
            question = self._question()
            if question is None:
                break
            if not question.room:
                full.append(Completion(question.request.key, "", FinishReason.TOO_LONG, 0))
            elif not self._send(question):
                break
            self._next = None
        return full

    def _question(self) -> Question | None:
        """The next question, None where there is none, or it could not be made."""
        if self._next is None:
            try:
                request = next(self._requests, None)
                self._next = self._asker.question(request) if request else None
            except LidrError as error:
                self._fail(error)
        return self._next

    def _send(self, question: Question) -> bool:
        """Sends a question; whether it fits the budget."""
        hold = self._budget.hold(question.request.key, question.worst)
        if hold is not None:
            self._tasks[asyncio.create_task(self._asker.ask(question, hold))] = None
        elif not self._tasks:
            self._fail(self._budget.refusal(question.worst))
        return hold is not None

    def _result(self, task: asyncio.Task[Completion]) -> Completion | None:
        del self._tasks[task]
        try:
            return task.result()
        except LidrError as error:
            self._fail(error)
            return None

    def _fail(self, error: LidrError) -> None:
        self._error = self._error or error
        self._asker.stopping.set()

    def _raise(self, error: LidrError) -> NoReturn:
        if not self._landed:
            raise error
        stand = "answer that came before stands" if self._landed == 1 else "answers that came before stand"
        what = f"{error.what}; the {self._landed:,} {stand}"
        raise type(error)(what, where=error.where, instead=error.instead) from error
