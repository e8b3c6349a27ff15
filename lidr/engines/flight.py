"""What is being answered: rows are admitted as others end, so that every pass is full.

Admission is greedy: as soon as enough rows have ended, the next requests come in together, as one cohort. Cohorts
of few rows or of like length are joined, since each costs its own calls. Where the tokens that are held outgrow their
budget, the newest cohort goes back and is begun again later; its answers do not change by that.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lidr.config import SamplingConfig
from lidr.engines.base import Completion
from lidr.engines.choosing import choose, penalise
from lidr.engines.cohort import NO_PREFIX, Cohort, Prefix
from lidr.engines.decoder import Decoder
from lidr.engines.endings import Endings
from lidr.engines.lookup import Lookup, agreed
from lidr.engines.prepare import Prepared
from lidr.engines.seeds import request_seed

log = logging.getLogger(__name__)
_ADMITTED = 8  # a share of the rows that is free before the next are admitted: 1 / 8
_COHORTS = 3  # at most
# A cohort's own calls take as long as reading so many keys and values, of each layer.
_CALLS_BYTES = 4 * 2**20
_PREFIXES = 16  # at most, whose keys and values are kept
_PROMPT_TOKENS = 8192  # of the prompts that are admitted together
_FIRST_ANSWER = 64  # tokens that an admission leaves room for


@dataclass
class Row:
    """An answer under way."""

    prepared: Prepared
    generator: torch.Generator | None
    lookup: Lookup | None
    ids: list[int] = field(default_factory=list)

    def guess(self) -> list[int]:
        """Tokens that may come next, as far as there is room for one more behind them."""
        return [] if self.lookup is None else self.lookup.guess(self.prepared.limit - len(self.ids) - 1)

    def add(self, token: int) -> None:
        """What the model wrote."""
        self.ids.append(token)
        if self.lookup is not None:
            self.lookup.add(token)


class Flight:
    """Rows in the air.

    Args:
        batch_size: rows at most.
        token_budget: tokens whose keys and values are held, at most; one cohort may exceed it.
        seed: of the engine, for sampling.
        guesses: tokens that are guessed for a row at a time, at most.
    """

    def __init__(
        self,
        decoder: Decoder,
        endings: Endings,
        sampling: SamplingConfig,
        batch_size: int,
        token_budget: int,
        seed: int,
        guesses: int,
    ) -> None:
        self.decoder, self.endings, self.sampling = decoder, endings, sampling
        self.batch_size, self.token_budget, self.seed = batch_size, token_budget, seed
        # A draw can only be made where it counts, and PyTorch's operators would read a row anew for each guess.
        useful = sampling.temperature == 0 and decoder.native is not None
        self.guesses = guesses if useful else 0
        self.waiting: deque[Prepared] = deque()
        self._cohorts: list[Cohort] = []
        self._rows: list[list[Row]] = []
        self._prefixes: dict[tuple[int, ...], Prefix] = {(): NO_PREFIX}

    @property
    def rows(self) -> int:
        return sum(map(len, self._rows))

    @property
    def free(self) -> int:
        """Rows that could be admitted."""
        return self.batch_size - self.rows

    @property
    def held(self) -> int:
        return sum(cohort.held for cohort in self._cohorts)

    @torch.inference_mode()
    def advance(self) -> list[Completion]:
        """Admits what there is room for, then writes tokens of every row; returns the answers that ended."""
        ended: list[Completion] = []
        enough = max(1, self.batch_size // _ADMITTED)
        while self.waiting and self.free >= min(enough, len(self.waiting)):
            together = min(self.batch_size // 2, _PROMPT_TOKENS // len(self.waiting[0].prompt))
            group = self._next_group(min(max(1, together), self.free))
            if not group:
                break
            ended += self._admit(group)
        self._shrink()
        self._join()
        return ended + self._step() if self._cohorts else ended

    def _step(self) -> list[Completion]:
        """A token of every row at least: its guesses are looked at together with it."""
        for cohort, rows in zip(self._cohorts, self._rows, strict=True):
            cohort.guesses = [row.guess() for row in rows]
        queries = [cohort.queries() for cohort in self._cohorts]
        logits = torch.split(self.decoder.step(queries), [len(own) for own in queries])
        ended: list[Completion] = []
        for cohort, rows, own, asked in zip(self._cohorts, self._rows, logits, queries, strict=True):
            chosen = iter(self._choose(own, asked.seen, rows))
            each = [[next(chosen) for _ in range(count)] for count in asked.counts]
            written = [agreed(g, ids) for g, ids in zip(cohort.guesses, each, strict=True)]
            cohort.go_on(written)
            ended += self._let_go(cohort, rows, written)
        self._land()
        return ended

    def _next_group(self, size: int) -> list[Prepared]:
        """The next requests that fit into the budget; at least one where nothing is under way."""
        first, held = self.waiting[0], self.held
        group: list[Prepared] = []
        while self.waiting and len(group) < size:
            needed = (len(group) + 1) * (len(first.prompt) + min(_FIRST_ANSWER, first.limit))
            if held + needed > self.token_budget and (group or self._cohorts):
                break
            group.append(self.waiting.popleft())
        return group

    def _admit(self, group: list[Prepared]) -> list[Completion]:
        prefixes = [self._shared(tuple(p.prompt[: p.shared])) for p in group]
        cohort, logits = self.decoder.admit([p.prompt for p in group], prefixes)
        rows = [Row(p, self._generator(p), self._lookup(p)) for p in group]
        chosen = self._choose(logits, lambda: cohort.tokens, rows)
        cohort.begin(chosen)
        ended = self._let_go(cohort, rows, [[token] for token in chosen])
        self._settle(cohort, rows)
        self._land()
        return ended

    def _settle(self, cohort: Cohort, rows: list[Row]) -> None:
        settled = self.decoder.settled(cohort)
        for there, own in zip(self._cohorts, self._rows, strict=True):
            if there is settled:
                own += rows
                return
        self._cohorts.append(settled)
        self._rows.append(rows)

    def _shared(self, ids: tuple[int, ...]) -> Prefix:
        """What some prompts begin with, computed once while it is among the last few that were asked for."""
        found = self._prefixes.pop(ids, None) or self.decoder.prefix(ids)
        self._prefixes[ids] = found
        if len(self._prefixes) > _PREFIXES:
            del self._prefixes[next(iter(self._prefixes))]
        return found

    def _generator(self, prepared: Prepared) -> torch.Generator | None:
        if self.sampling.temperature == 0:
            return None
        return torch.Generator().manual_seed(
            request_seed(self.seed, prepared.request.key, prepared.request.draw)
        )

    def _lookup(self, prepared: Prepared) -> Lookup | None:
        return Lookup(prepared.prompt, self.guesses) if self.guesses else None

    def _choose(self, logits: Tensor, seen: Callable[[], Tensor], rows: list[Row]) -> list[int]:
        """The next token after each of those that were computed; `seen` before it stand in its row."""
        penalty = self.sampling.repetition_penalty
        if penalty != 1:
            logits = penalise(logits, seen(), penalty)
        return choose(logits, self.sampling, [row.generator for row in rows]).tolist()

    def _let_go(self, cohort: Cohort, rows: list[Row], written: list[list[int]]) -> list[Completion]:
        """Gives each row its tokens; takes those that end, maybe before the last of them, out of the cohort."""
        ended: list[Completion] = []
        for place in reversed(range(len(rows))):
            completion = self._grown(rows[place], written[place])
            if completion is not None:
                ended.append(completion)
                cohort.drop(place)
                rows[place] = rows[-1]
                rows.pop()
        return ended

    def _grown(self, row: Row, tokens: list[int]) -> Completion | None:
        for token in tokens:
            row.add(token)
            completion = self.endings.completion(row.prepared.request, row.ids, row.prepared.limit)
            if completion is not None:
                return completion
        return None

    def _land(self) -> None:
        """Forgets cohorts without rows."""
        alive = [i for i, rows in enumerate(self._rows) if rows]
        self._cohorts, self._rows = [self._cohorts[i] for i in alive], [self._rows[i] for i in alive]

    def _join(self) -> None:
        """Joins neighbours by length where their padding costs less than a cohort's calls, or there are too many."""
        while len(self._cohorts) > 1:
            order = sorted(range(len(self._cohorts)), key=lambda i: self._cohorts[i].room)
            padding, one, other = min(
                (self._cohorts[i].padding(self._cohorts[j]), i, j) for i, j in itertools.pairwise(order)
            )
            if padding > _CALLS_BYTES and len(self._cohorts) <= _COHORTS:
                return
            one, other = sorted((one, other))
            order = self._cohorts[one].join(self._cohorts.pop(other))
            rows = [*self._rows[one], *self._rows.pop(other)]
            self._rows[one] = [rows[place] for place in order]

    def _shrink(self) -> None:
        """Sends the newest cohorts back while too much is held; the oldest stays."""
        while len(self._cohorts) > 1 and self.held > self.token_budget:
            self._cohorts.pop()
            back = [row.prepared for row in self._rows.pop()]
            log.debug(
                "%d requests go back: engine.token_budget=%d tokens are held", len(back), self.token_budget
            )
            self.waiting.extendleft(reversed(back))
