"""An engine whose model is loaded when the first answer is asked for."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator

from lidr.config import SamplingConfig
from lidr.engines.base import Completion, Engine, Request


class LazyEngine:
    """Calls `load` at most once, and only where an answer is missing."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        self._load = load
        self._engine: Engine | None = None

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """See `lidr.engines.base.Engine`."""
        if self._engine is None:
            self._engine = self._load()
        return self._engine.stream(requests, sampling, done)
