"""Replies by content, on disk: what was asked once is never asked again, by whatever run."""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from lidr.config import SamplingConfig
from lidr.config.identity import digest
from lidr.engines.base import Completion, Engine, FinishReason, Request
from lidr.errors import LidrError
from lidr.files import writing
from lidr.synthesis.lazy import LazyEngine

_TABLE = (
    "create table if not exists replies (key text primary key, text text not null, finish_reason text not null,"
    " tokens integer not null, log_probs text) without rowid"
)
_PATIENCE = 60.0  # seconds to wait for another process that writes
_AT_ONCE = 64


class Cache:
    """Replies by a key made of all that they depend on; several processes may share a file.

    Raises:
        LidrError: the file is no cache, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._reported():
            self._connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
            self._connection.execute("pragma journal_mode=wal")
            self._connection.execute(_TABLE)

    def get(self, key: str, request: Request) -> Completion | None:
        """The reply under a key, as one to this request."""
        with self._reported():
            row = self._connection.execute(
                "select text, finish_reason, tokens, log_probs from replies where key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        log_probs = None if row[3] is None else json.loads(row[3])
        return Completion(request.key, json.loads(row[0]), FinishReason(row[1]), row[2], log_probs)

    def put(self, replies: Sequence[tuple[str, Completion]]) -> None:
        """Keeps replies; the first under a key stands. Texts as JSON: SQLite takes no lone surrogates."""
        rows = [
            (
                key,
                json.dumps(c.text),
                str(c.finish_reason),
                c.tokens,
                None if c.log_probs is None else json.dumps(dict(c.log_probs)),
            )
            for key, c in replies
        ]
        with self._reported(), self._connection:
            self._connection.execute("begin immediate")
            self._connection.executemany("insert or ignore into replies values (?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LidrError(
                f"cannot be used as a cache of replies ({error})",
                where=str(self.path),
                instead="type another file: cache=<path>, or cache=null for none",
            ) from None


class CachedEngine:
    """An engine that is asked only for what the cache lacks.

    Args:
        load: makes the engine; called where the cache lacks something.
        cache: of replies.
        judge: names all that a reply depends on besides the request and the sampling.
    """

    def __init__(self, load: Callable[[], Engine], cache: Cache, judge: str) -> None:
        self._engine, self._cache, self._judge = LazyEngine(load), cache, judge

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """See `lidr.engines.base.Engine`."""
        hits: deque[Completion] = deque()
        keys: dict[str, str] = {}
        misses = self._misses((r for r in requests if r.key not in done), sampling, hits, keys)
        first = next(misses, None)
        yield from _drained(hits)
        if first is None:
            return
        for completions in self._engine.stream(chain([first], misses), sampling):
            self._keep(completions, keys)
            yield completions
            yield from _drained(hits)
        yield from _drained(hits)

    def _misses(
        self,
        requests: Iterable[Request],
        sampling: SamplingConfig,
        hits: deque[Completion],
        keys: dict[str, str],
    ) -> Iterator[Request]:
        """Those the cache lacks; `hits` takes the others' replies, `keys` the keys of what is asked."""
        for request in requests:
            key = self._key(request, sampling)
            found = self._cache.get(key, request)
            if found is None:
                keys[request.key] = key
                yield request
            else:
                hits.append(found)

    def _keep(self, completions: Sequence[Completion], keys: dict[str, str]) -> None:
        """A prompt that was too long is not kept: another server of the same model may have more room."""
        kept = [c for c in completions if c.finish_reason is not FinishReason.TOO_LONG]
        self._cache.put([(keys.pop(c.key), c) for c in kept if c.key in keys])

    def _key(self, request: Request, sampling: SamplingConfig) -> str:
        asked = [request.user, request.prefill, list(request.stop), list(request.labels)]
        how = [sampling.max_new_tokens, sampling.repetition_penalty, sampling.temperature, sampling.top_p]
        return digest([self._judge, asked, how])


def _drained(hits: deque[Completion]) -> Iterator[list[Completion]]:
    while hits:
        yield [hits.popleft() for _ in range(min(_AT_ONCE, len(hits)))]
