"""One output file of a stage: resumed where a killed attempt left it, in the order of its inputs when done.

Inputs, requests and records stream by; what grows with their number is the `Index` of one file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lidr import jsonl, progress
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, Engine, FinishReason, Request
from lidr.errors import LidrError, StageError
from lidr.progress import Advance
from lidr.records import Reply, Response, Score, Translation, to_json
from lidr.synthesis.index import Index, Share

Answered = Response | Translation | Score | Reply
_GIVEN_AT_ONCE = 256


@dataclass(frozen=True)
class Item:
    """One input.

    key, text: what its record stems from.
    request: for the model; None where the record needs none.
    to_record: the record, from the model's completion, or from None where there is no request.
    """

    key: str
    text: str
    request: Request | None
    to_record: Callable[[Completion | None], Answered]


@dataclass(frozen=True)
class Job:
    """What one file has to hold.

    path: the file.
    items: walks its inputs anew, in the file's order; called several times.
    count: how many they are.
    text_field: the record's field that holds an input's text.
    sampling: how the model answers.
    source: where the inputs come from, for errors.
    mend: what to do about prompts that are too long; None where `to_record` makes a record of them.
    is_second: its inputs are the records of another job's file, which has to be whole before; see `rounds`.
    """

    path: Path
    items: Callable[[], Iterator[Item]]
    count: int
    text_field: str
    sampling: SamplingConfig
    source: str
    mend: str | None = None
    is_second: bool = False

    def index(self) -> Index:
        return Index(((i.key, i.text) for i in self.items()), self.source, self.text_field)


def rounds(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs whose inputs are there, then those that read what the former have written."""
    parts = [[job for job in jobs if job.is_second is second] for second in (False, True)]
    return [part for part in parts if part]


def complete_all(jobs: Sequence[Job], engine: Engine, title: str) -> int:
    """Fills files one after the other, in their order, under one progress bar; returns the number of their records."""
    done = sum(jsonl.whole_lines(job.path) for job in jobs)
    with progress.bar(title, sum(job.count for job in jobs), done) as advance:
        return sum(complete(job, engine, advance) for job in jobs)


def complete(job: Job, engine: Engine, advance: Advance) -> int:
    """Fills a file: keeps what stands, asks the engine for the rest, then puts all in order atomically.

    Raises:
        LidrError: prompts are too long for the model; all others are answered and stand.
        StageError: the file holds records of other inputs, or the engine left a request unanswered.
        FullDiskError: there is no room for the file.
    """
    index = job.index()
    index.scan(job.path)
    with jsonl.Appender(job.path) as file:
        _give(job, index, file, advance)
        if next(index.unanswered(), None) is not None:
            _Asking(job, index, file, Share()).ask(engine, advance)
    index.put_in_order(job.path)
    _refuse_unanswered(job, index)
    return index.found


def prepare(job: Job, shards: Sequence[Path]) -> int:
    """Makes a file ready to be shared: takes over what shards of an earlier attempt hold, and what needs no model.

    Returns:
        How many inputs are left for the model.
    """
    index = _gather(job, shards)
    with jsonl.Appender(job.path) as file:
        _give(job, index, file, lambda _: None)
    return sum(1 for _ in index.unanswered())


def complete_share(job: Job, path: Path, share: Share, engine: Engine) -> None:
    """Answers a share of a file's inputs into a file of its own; what either file holds already is done.

    A prompt that is too long has a record there too, so that the others go on; `settle` reports it.
    """
    index = job.index()
    index.scan(job.path)
    with jsonl.Appender(path) as file:
        index.scan(path)
        if next(index.unanswered(share), None) is not None:
            _Asking(job, index, file, share, keeps_too_long=True).ask(engine, lambda _: None)


def settle(job: Job, shards: Sequence[Path]) -> None:
    """Puts what the shards wrote into the file, in the order of the inputs.

    Raises:
        LidrError: as `complete`.
    """
    _refuse_unanswered(job, _gather(job, shards))


def _gather(job: Job, shards: Sequence[Path]) -> Index:
    index = job.index()
    for path in (job.path, *shards):
        index.scan(path)
    index.put_in_order(job.path)
    return index


def _give(job: Job, index: Index, file: jsonl.Appender, advance: Advance) -> None:
    """Appends the records that need no model."""
    given: list[Answered] = []

    def append() -> None:
        for record, offset in zip(given, file.append(map(to_json, given)), strict=True):
            index.note(record.id, file.path, offset)
        advance(len(given))
        given.clear()

    for item in job.items():
        if item.request is None and item.key not in index:
            given.append(item.to_record(None))
        if len(given) == _GIVEN_AT_ONCE:
            append()
    append()


class _Asking:
    """Asks an engine for what is left of a share, and appends its answers as they come.

    What is held are the inputs that the engine has read and not yet answered.
    """

    def __init__(
        self, job: Job, index: Index, file: jsonl.Appender, share: Share, keeps_too_long: bool = False
    ) -> None:
        self.job, self.index, self.file, self.share = job, index, file, share
        self.keeps_too_long = keeps_too_long
        self._opening = shared_opening(item.request.user for item in job.items() if item.request is not None)
        self._waiting: dict[str, Item] = {}

    def ask(self, engine: Engine, advance: Advance) -> None:
        for completions in engine.stream(self._requests(), self.job.sampling, done=self.index):
            advance(self._store(completions))

    def _requests(self) -> Iterator[Request]:
        for position, item in enumerate(self.job.items()):
            if item.request is None or not self.share.has(position):
                continue
            if item.key not in self.index:
                self._waiting[item.key] = item
            yield replace(item.request, opening=self._opening)

    def _store(self, completions: Sequence[Completion]) -> int:
        records: list[Answered] = []
        for completion in completions:
            item = self._waiting.pop(completion.key, None)
            if item is None:  # answered before, or never asked
                continue
            too_long = self.job.mend is not None and completion.finish_reason == FinishReason.TOO_LONG
            if too_long:
                self.index.note_too_long(item.key)
            if not too_long or self.keeps_too_long:
                records.append(item.to_record(completion))
        offsets = self.file.append(map(to_json, records))
        for record, offset in zip(records, offsets, strict=True):
            if record.id not in self.index:
                self.index.note(record.id, self.file.path, offset)
        return len(records)


def shared_opening(texts: Iterator[str]) -> str:
    """What all texts begin with, whichever of them are still to be answered."""
    common = next(texts, "")
    for text in texts:
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(common, text, strict=False))
        common = common[: sum(1 for _ in same)]
        if not common:
            break
    return common


def _refuse_unanswered(job: Job, index: Index) -> None:
    if index.too_long:
        others = len(index.too_long) - 1
        more = f" and {others} more" if others else ""
        raise LidrError(
            f"the prompt {index.key(min(index.too_long))!r}{more} leave{'' if others else 's'} no room for an answer"
            " in the model's context",
            where=job.source,
            instead=job.mend,
        )
    absent = next(index.unanswered(), None)
    if absent is not None:
        raise StageError(
            f"the engine answered {index.found} of {len(index)} requests; {absent!r} has no answer",
            where=str(job.path),
            instead="run the same command again; what stands is kept",
        )
