"""One output file of a stage: resumed where a killed attempt left it, in the order of its keys when done."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lidr import jsonl
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, Engine, Request
from lidr.errors import LidrError, StageError
from lidr.progress import Advance
from lidr.records import Response, Translation, to_json

Answered = Response | Translation


@dataclass(frozen=True)
class Job:
    """What one file has to hold.

    path: the file.
    inputs: by key, the text a record stems from, in the file's order; a kept record must stem from it too.
    input_field: the record's field that holds that text.
    requests: for the model; `to_record` makes a record of each completion.
    given: records that need no model.
    """

    path: Path
    inputs: Mapping[str, str]
    input_field: str
    requests: Sequence[Request]
    to_record: Callable[[Completion], Answered]
    given: Sequence[Answered] = field(default=())


def whole_lines(path: Path) -> int:
    """Lines of a file that end, 0 where there is no file."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file)


def complete(job: Job, engine: Engine, sampling: SamplingConfig, advance: Advance) -> None:
    """Fills the file: keeps what stands, asks the engine for the rest, then puts all in order atomically.

    Raises:
        StageError: the file holds records of other inputs, or the engine left a request unanswered.
    """
    with jsonl.Appender(job.path) as appender:
        kept = _kept(appender.kept, job)
        ready = [to_json(r) for r in job.given if r.id not in kept]
        appender.append(ready)
        kept |= {r["id"]: r for r in ready}
        advance(len(ready))
        if len(kept) < len(job.inputs):
            _ask(job, engine, sampling, appender, kept, advance)
    absent = [key for key in job.inputs if key not in kept]
    if absent:
        raise StageError(
            f"the engine answered {len(kept)} of {len(job.inputs)} requests; {absent[0]!r} has no answer",
            where=str(job.path),
            instead="run the same command again; what stands is kept",
        )
    if [record["id"] for record in appender.kept] != list(job.inputs):
        jsonl.write(job.path, (kept[key] for key in job.inputs))


def _ask(
    job: Job,
    engine: Engine,
    sampling: SamplingConfig,
    appender: jsonl.Appender,
    kept: dict[str, dict[str, Any]],
    advance: Advance,
) -> None:
    wanted = {request.key for request in job.requests}
    for completions in engine.stream(job.requests, sampling, done=frozenset(wanted & kept.keys())):
        new = [to_json(job.to_record(c)) for c in completions if c.key in wanted and c.key not in kept]
        appender.append(new)
        kept |= {r["id"]: r for r in new}
        advance(len(new))


def _kept(records: Sequence[dict[str, Any]], job: Job) -> dict[str, dict[str, Any]]:
    """An earlier attempt's records by key; the first of several with one key stands."""
    kept: dict[str, dict[str, Any]] = {}
    for number, record in enumerate(records, start=1):
        key = str(record.get("id"))
        if key not in job.inputs or record.get(job.input_field) != job.inputs[key]:
            raise StageError(
                f"the record {key!r} is not of this stage's inputs",
                where=f"{job.path}:{number}",
                instead=f"delete {job.path} and run the same command again",
            )
        kept.setdefault(key, record)
    return kept


def check_unique(keys: Sequence[str], where: str) -> None:
    """Refuses two inputs of one key: their answers could not be told apart."""
    seen = set(keys)
    if len(seen) < len(keys):
        twice = next(a for a, b in itertools.pairwise(sorted(keys)) if a == b)
        raise LidrError(
            f"the id {twice!r} stands twice", where=where, instead="give every prompt an id of its own"
        )
