"""Generation by a server that speaks OpenAI's protocol."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from lidr.config import EngineConfig, ModelConfig, SamplingConfig
from lidr.config.engine_rules import ITERATION
from lidr.engines.base import Completion, Request
from lidr.engines.endpoint_budget import Budget
from lidr.engines.endpoint_prompts import prompts_for
from lidr.engines.endpoint_target import Target
from lidr.engines.endpoint_usage import Ledger
from lidr.errors import LidrError

log = logging.getLogger(__name__)


class OpenAIEngine:
    """Sends every request by itself, several at the same time, and counts what they take.

    Args:
        engine: the section `engine`, with its endpoint.
        model: how the model's tokenizer is loaded, and its system prompt.
        path: folder or hub id with the tokenizer of the model that the server runs.
        iteration: t, for the server's name of M_t.
        ledger: the file that says what the run has used.
        seed: of sampling; each request has a seed of its own.
        section: where the engine stands in the configuration, for messages.

    Raises:
        LidrError: the package `openai` is missing, or the tokenizer that prompts are templated with.
    """

    def __init__(
        self,
        engine: EngineConfig,
        model: ModelConfig,
        path: str,
        iteration: int,
        ledger: Path,
        seed: int,
        section: str = "engine",
    ) -> None:
        if find_spec("openai") is None:
            raise LidrError(
                "needs the package openai",
                where=f"{section}.kind=openai",
                instead="install with: pip install 'lidr[openai]'",
            )
        if engine.endpoint is None:
            raise LidrError(
                "is null", where=f"{section}.endpoint", instead="choose the engine as a whole: engine=openai"
            )
        name = engine.endpoint.model.replace(ITERATION, str(iteration))
        self._target = Target(engine.endpoint, name, section)
        self._prompts = prompts_for(engine.endpoint.api, model, path)
        self._ledger, self._seed = ledger, seed

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """See `lidr.engines.base.Engine`. The event loop runs while the next completions are waited for."""
        from lidr.engines.endpoint_asking import Asker
        from lidr.engines.endpoint_client import Client
        from lidr.engines.endpoint_flight import Flight

        target, client = self._target, Client(self._target)
        waiting = (request for request in requests if request.key not in done)
        with Ledger(self._ledger) as ledger, asyncio.Runner() as runner:
            budget, before = Budget(target, ledger), ledger.tokens
            asker = Asker(target, sampling, self._seed, self._prompts, client)
            flight = Flight(waiting, asker, budget, target.endpoint.concurrency)
            try:
                while landed := runner.run(flight.land()):
                    yield landed
            finally:
                runner.run(flight.close())
                runner.run(client.close())
                if ledger.tokens > before:
                    log.info("%s: the run has used %s so far", target.endpoint.url, ledger.describe())
