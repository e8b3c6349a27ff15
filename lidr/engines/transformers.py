"""Generation with transformers, in this process: continuous batches over a key-value cache of its own.

A model whose attention cannot be replaced, or that answers otherwise when it is, is run by transformers' own
`generate` in fixed batches (`plain`), and the reason is logged.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Container, Iterable, Iterator

import torch
from transformers import PreTrainedModel

from lidr import machine
from lidr.attention_interface import base_model, obstacle
from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, Request
from lidr.engines.decoder import Decoder
from lidr.engines.endings import Endings, stop_ids
from lidr.engines.flight import Flight
from lidr.engines.graphs import GraphDecoder, has_graphs
from lidr.engines.laid_out import LaidOut
from lidr.engines.plain import PlainEngine
from lidr.engines.prepare import Prepared, windows
from lidr.engines.probe import Probe, disagreement
from lidr.errors import LidrError
from lidr.machine import GIB
from lidr.memory import ran_out

log = logging.getLogger(__name__)
_ROOM = 256  # tokens that a row's room on CUDA is rounded up to
_SHARE = 0.6  # of the available memory that keys and values may take


class TransformersEngine:
    """Answers requests with one model.

    Greedy answers in fp32 are functions of their requests alone; see `docs/engines.md`.

    Args:
        model: in evaluation mode.
        chat: formats requests for the model's tokenizer.
        batch_size: requests under way at the same time, at most.
        token_budget: tokens whose keys and values are held, at most; None for what fits into memory.
        seed: for sampling.
        section: where the engine stands in the configuration, for messages.
        prompt_lookup: tokens of a greedy answer that are guessed at a time, at most; 0 for none.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        chat: ChatFormat,
        batch_size: int,
        token_budget: int | None = None,
        seed: int = 0,
        section: str = "engine",
        prompt_lookup: int = 31,
    ) -> None:
        self.model, self.chat = model, chat
        self.prompt_lookup = prompt_lookup
        self.batch_size, self.seed, self.section = batch_size, seed, section
        self._budget = token_budget
        self._endings = Endings(chat, stop_ids(model, chat))
        self._context: int | None = getattr(
            base_model(model).config.get_text_config(), "max_position_embeddings", None
        )
        self._attention = base_model(model).config._attn_implementation
        self._probe: Probe | None = None
        self._laid_out = LaidOut(model)

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """See `lidr.engines.base.Engine`. The model has its own attention again afterwards.

        Raises:
            LidrError: memory ran out; names what to type.
        """
        try:
            with self._laid_out.used():
                yield from self._stream(requests, sampling, done)
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            raise self._out_of_memory() from error
        finally:
            base_model(self.model).set_attn_implementation(self._attention)

    def _stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str]
    ) -> Iterator[list[Completion]]:
        flight: Flight | None = None
        for window in windows(requests, self.chat, sampling, self._context, done):
            if window.too_long:
                yield window.too_long
            if not window.requests:
                continue
            longest = max(len(r.prompt) + r.limit for r in window.requests)
            supported = self._supports(window.requests, longest)
            if flight is not None and not (supported and longest <= flight.decoder.room):
                yield from _landed(flight)
                flight = None
            if not supported:
                yield from self._plain().answer(window.requests, sampling)
                continue
            flight = flight or self._take_off(sampling, longest)
            flight.waiting.extend(window.requests)
            while flight.waiting:
                yield from _some(flight.advance())
        if flight is not None:
            yield from _landed(flight)

    def _take_off(self, sampling: SamplingConfig, longest: int) -> Flight:
        budget, places = self._token_budget(), self.batch_size
        if has_graphs(self.model.device):
            room = -(-longest // _ROOM) * _ROOM
            places = max(1, min(places, budget // room))
            if places < self.batch_size:
                log.info("%d requests at the same time: each has room for %d tokens", places, room)
            decoder: Decoder = GraphDecoder(self.model, places, room)
        else:
            decoder = Decoder(self.model)
        return Flight(
            decoder,
            self._endings,
            sampling,
            places,
            budget,
            self.seed,
            self.prompt_lookup,
        )

    def _supports(self, requests: list[Prepared], longest: int) -> bool:
        """Whether the model can be run here, by what is known of it and by a look at its first prompts."""
        problem = obstacle(self.model, longest)
        if problem is None:
            if self._probe is None:
                self._probe = disagreement(self.model, [r.prompt for r in requests], self._attention)
            problem = self._probe.problem
        if problem is not None:
            log.info("batches of a fixed size: %s", problem)
        return problem is None

    def _plain(self) -> PlainEngine:
        base_model(self.model).set_attn_implementation(self._attention)
        return PlainEngine(self.model, self.chat, self._endings, self.batch_size, self.seed)

    def _out_of_memory(self) -> LidrError:
        where, half = f"{self.section}.batch_size", self.batch_size // 2
        lower = f"type {where}={half}: the run goes on from what is answered"
        least = "take a machine with more memory, a smaller model, or shorter answers"
        return LidrError(
            f"memory ran out while up to {self.batch_size} requests were answered at the same time",
            where=where,
            instead=lower if half else least,
        )

    def _token_budget(self) -> int:
        if self._budget is None:
            assert self._probe is not None
            free = machine.available_memory(self.model.device)
            room = int(_SHARE * free) // _neighbours(self.model.device)
            self._budget = max(1, room // self._probe.bytes_per_token)
            log.info(
                "engine.token_budget %d: keys and values of as many tokens are %.1f of %.1f GiB that are free",
                self._budget,
                room / GIB,
                free / GIB,
            )
        return self._budget


def _neighbours(device: torch.device) -> int:
    """Processes that share the device's memory: those of a node its host's, none a GPU's."""
    return 1 if device.type == "cuda" else int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _landed(flight: Flight) -> Iterator[list[Completion]]:
    while flight.rows:
        yield from _some(flight.advance())


def _some(completions: list[Completion]) -> Iterator[list[Completion]]:
    if completions:
        yield completions
