"""Which prompts a page shows where there is no room for all: a sample by hash, the same in every run and order."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


@dataclass(frozen=True)
class Limits:
    """The most a page embeds.

    records: pairs, answers and translations, over all runs. size: their texts, in bytes.
    text: characters of one text; a longer one is cut, and the page says where.
    """

    records: int = 30_000
    size: int = 12_000_000
    text: int = 10_000


class Weighed(Protocol):
    """What is kept of one prompt."""

    @property
    def records(self) -> int: ...

    @property
    def size(self) -> int: ...


T = TypeVar("T", bound=Weighed)


def rank(identity: str) -> int:
    """A prompt's place in the drawing order; ids alone decide, so runs on the same prompts show the same ones."""
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


class Selection(Generic[T]):
    """Keeps the prompts of lowest rank that fit, whole, while records stream by in whatever order.

    What is kept at the end is the longest beginning of the ranked prompts that fits, whatever the order was. Memory
    holds no more than that, and one prompt.

    Args:
        make: an empty holder for what is kept of a prompt.
        records: the most records.
        size: the most bytes of text.
    """

    def __init__(self, make: Callable[[], T], records: int, size: int) -> None:
        self._make, self._most_records, self._most_size = make, records, size
        self._kept: dict[str, T] = {}
        self._ranks: list[tuple[int, str]] = []  # negated: the highest rank is the first to go
        self._bar: int | None = None
        self.records = 0
        self.size = 0

    def wants(self, identity: str) -> bool:
        """Whether `add` would keep something of this prompt."""
        return self._bar is None or identity in self._kept or rank(identity) < self._bar

    def add(self, identity: str, put: Callable[[T], None]) -> None:
        """Puts something into a prompt's holder, if the prompt is still in; others may have to leave for it."""
        holder = self._kept.get(identity)
        if holder is None:
            place = rank(identity)
            if self._bar is not None and place >= self._bar:
                return
            holder = self._kept[identity] = self._make()
            heapq.heappush(self._ranks, (-place, identity))
        records, size = holder.records, holder.size
        put(holder)
        self.records += holder.records - records
        self.size += holder.size - size
        while self.records > self._most_records or self.size > self._most_size:
            self._evict()

    def _evict(self) -> None:
        place, identity = heapq.heappop(self._ranks)
        self._bar = -place
        gone = self._kept.pop(identity)
        self.records -= gone.records
        self.size -= gone.size

    @property
    def is_full(self) -> bool:
        """Whether some prompt found no room."""
        return self._bar is not None

    @property
    def kept(self) -> dict[str, T]:
        """What is kept, by prompt, in the order in which the prompts first came."""
        return self._kept


def shares(needs: Sequence[int], total: int) -> list[int]:
    """Splits `total` evenly; what one does not need goes to those that do, and what nobody needs to all."""
    given = [0] * len(needs)
    left = total
    for done, place in enumerate(sorted(range(len(needs)), key=lambda i: needs[i])):
        given[place] = min(needs[place], left // (len(needs) - done))
        left -= given[place]
    return [share + left // len(needs) for share in given]
