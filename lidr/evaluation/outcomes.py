"""What each stored answer came to, one by one: kept beside the answers, so that models can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lidr import jsonl
from lidr.errors import LidrError
from lidr.evaluation.statistics import Observation
from lidr.records import Prompt, Response

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
    return [
        Outcome(str(r["id"]), str(r["language"]), {k: float(v) for k, v in r.items() if k not in _NAMES})
        for r in jsonl.read(path)
    ]


def answered(prompts: Sequence[Prompt], path: Path) -> list[tuple[Prompt, Response]]:
    """Every prompt with its stored answer.

    Raises:
        LidrError: the file lacks a prompt's answer, or holds one to another text.
    """
    stored = {str(record["id"]): Response(**record) for record in jsonl.read(path)}
    pairs = []
    for prompt in prompts:
        response = stored.get(prompt.id)
        if response is None or response.prompt != prompt.prompt:
            fault = "has no answer to" if response is None else "answers another text under"
            raise LidrError(f"{fault} {prompt.id!r}", where=str(path), instead="delete it and run again")
        pairs.append((prompt, response))
    return pairs
