"""What each stored answer came to, one by one: kept beside the answers, so that models can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lidr import jsonl
from lidr.errors import LidrError
from lidr.evaluation.statistics import Observation
from lidr.printable import short
from lidr.records import Prompt, Response
from lidr.synthesis.read import responses as stored_responses

FILE = "outcomes.jsonl"
_NAMES = ("id", "language")


@dataclass(frozen=True)
class Outcome:
    """One answer's measurements by metric; shares are 0 or 1."""

    id: str
    language: str
    values: Mapping[str, float]


def observations(outcomes: Iterable[Outcome], metric: str) -> list[Observation]:
    """A metric of every outcome, clustered by problem and grouped by language."""
    return [Observation(o.id, o.language, o.values[metric]) for o in outcomes if metric in o.values]


def write(folder: Path, outcomes: Iterable[Outcome]) -> None:
    """Writes a benchmark's outcomes, atomically."""
    jsonl.write(folder / FILE, ({"id": o.id, "language": o.language, **o.values} for o in outcomes))


def read(folder: Path) -> list[Outcome]:
    """A benchmark's outcomes; none where it was not scored yet."""
    path = folder / FILE
    if not path.exists():
        return []
    return [_outcome(record, f"{path}:{number}") for number, record in jsonl.numbered(path)]


def _outcome(record: Mapping[str, Any], where: str) -> Outcome:
    values = {key: value for key, value in record.items() if key not in _NAMES}
    has_names = all(isinstance(record.get(name), str) for name in _NAMES)
    if not has_names or not all(map(jsonl.is_number, values.values())):
        raise LidrError(
            "is no outcome: id and language are texts, all else are finite numbers",
            where=where,
            instead="delete the evaluation folder it lies in and run the same command again",
        )
    return Outcome(record["id"], record["language"], {key: float(value) for key, value in values.items()})


def answered(prompts: Sequence[Prompt], path: Path) -> list[tuple[Prompt, Response]]:
    """Every prompt with its stored answer.

    Raises:
        LidrError: the file lacks a prompt's answer, or holds one to another text, or a record that is none.
    """
    stored = {r.id: r for r in stored_responses(path, prompts[0].language)} if prompts else {}
    pairs = []
    for prompt in prompts:
        response = stored.get(prompt.id)
        if response is None or response.prompt != prompt.prompt:
            fault = "has no answer to" if response is None else "answers another text under"
            raise LidrError(
                f"{fault} {short(prompt.id)!r}", where=str(path), instead="delete it and run again"
            )
        pairs.append((prompt, response))
    return pairs
