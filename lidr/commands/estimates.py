"""Estimates as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from lidr.estimate import Estimate, Need, Range, StageEstimate, stage_counts, together, together_once
from lidr.estimate.written import UNKNOWN, duration, ends, money, number, size
from lidr.stages import StageKind

SCHEMA = 1
_Jobs = Sequence[tuple[list[str], Estimate]]


def table(found: Estimate) -> Table:
    """What is left to do, a row a stage: expected, and [low, high] where that is not exact."""
    made = Table(box=None, header_style="bold")
    made.add_column("left to do", no_wrap=True)
    columns = ["requests", "tokens in", "tokens out", "time", "disk", *(["cost"] if found.pays else [])]
    for column in columns:
        made.add_column(column, justify="right", no_wrap=column in ("time", "disk"))
    for each in found.stages:
        if not each.state.is_done:
            made.add_row(each.stage.name, *_row(each, found.pays))
    made.add_row("total", *_asked(found.total, found.pays), style="bold")
    return made


def _row(each: StageEstimate, pays: bool) -> list[str]:
    need, kind = each.need, each.stage.kind
    if kind is StageKind.TRAINING:
        return [f"{_count(need.pairs)} pairs", _count(need.training_tokens), "", *_last(need, pays)]
    if not kind.loads_model:
        return ["", "", "", "", _expected(need.bytes), *([""] if pays else [])]
    return _asked(need, pays)


def _asked(need: Need, pays: bool) -> list[str]:
    """Requests and their tokens; those of training are of another kind, and in no sum."""
    row = [_count(need.requests), _count(need.prompt_tokens), _count(need.answer_tokens)]
    return [*row, *_last(need, pays)]


def _last(need: Need, pays: bool) -> list[str]:
    return [_time(need.seconds), _expected(need.bytes), *([ends(need.cost, money)] if pays else [])]


def remarks(found: Estimate) -> Iterator[str]:
    """What stands below the table, a line each."""
    yield f"tokens  in: {found.counting}; out: {found.answers}; the total is without training"
    yield from _time_remarks(found)
    room = found.disk
    yield f"disk    {ends(room.needed, size)} at the fullest moment; {size(room.free)} free"
    if found.pays:
        spent = _spent(found.used.cost)
        yield f"cost    of servers that are paid for; the run has used {found.used.tokens:,} tokens, cost {spent}"
    yield from (f"warning {line}" for line in found.warnings)


def _time_remarks(found: Estimate) -> Iterator[str]:
    measured = found.measured
    if measured is None:
        yield "time    unknown (lidr check --probe measures it)"
        return
    speed = measured.answers
    yield (
        f"time    measured here: {_rate(speed.prompt_token)} prompt tokens/s, {_rate(speed.answer_token)} answer"
        f" tokens/s, {speed.load:.1f} s to load; without the stages that load no model"
    )
    yield from (f"        {note}" for note in measured.notes)
    if measured.used is not None:
        cost = _spent(measured.used.cost)
        yield f"probe   took {measured.used.tokens:,} tokens, cost {cost}; they are not in the run's usage"


def jobs_table(jobs: _Jobs) -> Table:
    """A row a job, and the sum."""
    pays = any(found.pays for _, found in jobs)
    columns = ["job", "overrides", "run", "state", "requests", "tokens in", "tokens out", "time", "disk"]
    made = Table(*columns, *(["cost"] if pays else []), box=None, header_style="bold")
    for job, (overrides, found) in enumerate(jobs):
        words = (str(job), " ".join(overrides), str(found.run.root), _job_state(found))
        made.add_row(*words, *_asked(found.total, pays))
    made.add_row("", "", "", "total", *_asked(_sum(jobs), pays), style="bold")
    return made


def jobs_remarks(found: Sequence[Estimate]) -> Iterator[str]:
    """What stands below the table of jobs."""
    yield from dict.fromkeys(line for each in found for line in _time_remarks(each))
    if note := _shared(found):
        yield f"note    {note}"
    for job, each in enumerate(found):
        yield from (f"warning job {job}: {line}" for line in each.warnings)


def _shared(found: Sequence[Estimate]) -> str:
    """What jobs have in common, in words; nothing where that is nothing."""
    left, taken = stage_counts(found)
    if not taken:
        return ""
    return (
        f"{left:,} stages are left to do; {taken:,} of them are copied from the job that computes them, and counted"
        " once in the total"
    )


def _job_state(found: Estimate) -> str:
    return found.run.status().status if found.run.root.exists() else "to do"


def _sum(jobs: _Jobs) -> Need:
    return together_once([found for _, found in jobs])


JUDGES_REMARK = (
    "judges  asked after the run (lidr judge); tokens estimated by bytes; stored replies are not taken off; answers"
    " that are the same are not asked about"
)


def judges_table(found: Sequence[Estimate]) -> Table:
    """What each judge has to be asked about all runs together."""
    made = Table("judge", box=None, header_style="bold")
    for column in ("questions", "tokens in", "tokens out", "cost"):
        made.add_column(column, justify="right")
    for name in dict.fromkeys(name for each in found for name in each.judges):
        need = together(each.judges[name] for each in found if name in each.judges)
        asked = (need.requests, need.prompt_tokens, need.answer_tokens)
        made.add_row(name, *map(_count, asked), ends(need.cost, money))
    return made


def to_json(found: Estimate) -> dict[str, Any]:
    """The estimate in plain values; null is unknown. The keys stay as they are within a schema version."""
    return {
        "schema": SCHEMA,
        "run": str(found.run.root),
        "stages": [
            {
                "stage": each.stage.name,
                "state": each.state.progress.value,
                "records": each.state.records,
                **_need(each.need),
            }
            for each in found.stages
        ],
        "total": _need(found.total),
        "counting": found.counting,
        "answers": found.answers,
        "disk": {
            "needed": _range(found.disk.needed),
            "free": found.disk.free,
            "fits": found.disk.fits,
        },
        "used": vars(found.used),
        "probe": _probe(found),
        "warnings": list(found.warnings),
        **({"judges": {name: _need(need) for name, need in found.judges.items()}} if found.judges else {}),
    }


def jobs_to_json(jobs: _Jobs) -> dict[str, Any]:
    """All jobs and their sum; of the stages left to do, `taken` are copied from another job."""
    estimates = [found for _, found in jobs]
    left, taken = stage_counts(estimates)
    return {
        "schema": SCHEMA,
        "jobs": [
            {"job": job, "overrides": overrides, "state": _job_state(found), **to_json(found)}
            for job, (overrides, found) in enumerate(jobs)
        ],
        "total": _need(_sum(jobs)),
        "stages": {"left": left, "taken": taken},
        "note": _shared(estimates),
    }


def _need(need: Need) -> dict[str, Any]:
    return {
        "requests": _range(need.requests),
        "prompt_tokens": _range(need.prompt_tokens),
        "answer_tokens": _range(need.answer_tokens),
        "pairs": _range(need.pairs),
        "training_tokens": _range(need.training_tokens),
        "seconds": _range(need.seconds),
        "bytes": _range(need.bytes),
        "cost": _range(need.cost),
    }


def _range(value: Range | None) -> Mapping[str, float] | None:
    return None if value is None else {name: _plain(end) for name, end in vars(value).items()}


def _plain(value: float) -> float:
    """A whole number as one."""
    return int(value) if value == int(value) else round(value, 6)


def _probe(found: Estimate) -> dict[str, Any] | None:
    measured = found.measured
    if measured is None:
        return None
    training = measured.training
    return {
        "answers": vars(measured.answers),
        "translation": vars(measured.translation),
        "training": None
        if training is None
        else {"load": training.load, "flops": training.flops, "step": training.step},
        "used": None if measured.used is None else vars(measured.used),
        "notes": list(measured.notes),
    }


def _count(value: Range) -> str:
    return ends(value, number)


def _time(value: Range | None) -> str:
    return ends(value, duration)


def _expected(value: Range | None) -> str:
    """Bytes without their ends, which stand below the table for all stages together."""
    return UNKNOWN if value is None else size(value.expected)


def _rate(seconds: float) -> str:
    return f"{1 / seconds:,.0f}" if seconds else "uncounted"


def _spent(cost: float | None) -> str:
    return UNKNOWN if cost is None else money(cost)
