"""The files of benchmarks that lm-eval runs, in the benchmark's folder.

``<language>.jsonl`` holds what every item of a language's tasks came to, ``lm_eval.json`` lm-eval's own means and
standard errors. A finished task is in both at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lidr import jsonl
from lidr.errors import LidrError
from lidr.evaluation.outcomes import Outcome
from lidr.files import write_text

SUMMARY = "lm_eval.json"
_NAMES = ("id", "language", "task")


class Item(NamedTuple):
    """One item of a task: its name, and its value under each metric, by the names in tables."""

    id: str
    values: dict[str, float]


class Result(NamedTuple):
    """What a task came to. summary: lm-eval's own means and standard errors, by task, and what they are of."""

    items: list[Item]
    summary: Mapping[str, Any]


def store(folder: Path, language: str, task: str, result: Result) -> None:
    """Adds a finished task. The summary comes first: records of a task say that it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    summaries = summary(folder) | dict(result.summary)
    write_text(folder / SUMMARY, json.dumps(summaries, ensure_ascii=False, indent=2, sort_keys=True) + "\n")
    records = [{"id": item.id, "language": language, "task": task, **item.values} for item in result.items]
    jsonl.write(folder / f"{language}.jsonl", [*_stored(folder, language), *records])


def finished(folder: Path, language: str) -> set[str]:
    """The tasks of a language that are done."""
    return {str(record["task"]) for record in _stored(folder, language)}


def summary(folder: Path) -> dict[str, Any]:
    """lm-eval's own numbers by task; none where no task is finished."""
    path = folder / SUMMARY
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LidrError("not readable as JSON", where=str(path), instead=f"delete {folder}") from error
    return found


def outcomes(folder: Path, languages: Sequence[str]) -> list[Outcome]:
    """What every item came to, the metrics of several tasks together; where a metric recurs the items stand apart.

    Raises:
        LidrError: a language has no results.
    """
    found: dict[tuple[str, str, int], dict[str, float]] = {}
    for language in languages:
        records, seen = _stored(folder, language), Counter[tuple[str, str]]()
        if not records:
            raise LidrError(
                "has no results",
                where=str(folder / f"{language}.jsonl"),
                instead="run the same command again",
            )
        for record in records:
            name = str(record["id"])
            for metric, value in record.items():
                if metric not in _NAMES:
                    found.setdefault((language, name, seen[name, metric]), {})[metric] = float(value)
                    seen[name, metric] += 1
    return [Outcome(name, language, values) for (language, name, _), values in found.items()]


def _stored(folder: Path, language: str) -> list[dict[str, Any]]:
    path = folder / f"{language}.jsonl"
    return list(jsonl.read(path)) if path.exists() else []
