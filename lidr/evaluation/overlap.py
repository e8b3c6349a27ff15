"""Contamination: does a benchmark's text stand in the prompts that were trained on.

Compared are words without case and punctuation, and single letters where a script has no spaces: the whole text, and
runs of 8 and of 13 (as GPT-3's report counts them).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lidr.synthesis.filters import units

RUNS = (8, 13)
EXACT = "overlap_exact"


def overlap_metric(run: int) -> str:
    """The name of the share of texts with a run of so many words in the training prompts."""
    return f"overlap_{run}"


METRICS = (EXACT, *map(overlap_metric, RUNS))


@dataclass
class Seen:
    """All that stands in the training prompts of a language."""

    whole: set[tuple[str, ...]] = field(default_factory=set)
    runs: dict[int, set[tuple[str, ...]]] = field(default_factory=lambda: {run: set() for run in RUNS})

    @classmethod
    def of(cls, texts: Iterable[str]) -> Seen:
        seen = cls()
        for text in texts:
            words = _words(text)
            seen.whole.add(words)
            for run, found in seen.runs.items():
                found.update(_runs(words, run))
        return seen

    def overlaps(self, text: str) -> dict[str, float]:
        """1 or 0 by metric; a text shorter than a run has none of that length, and no number."""
        words = _words(text)
        found = {EXACT: float(words in self.whole)}
        for run, seen in self.runs.items():
            if len(words) >= run:
                found[overlap_metric(run)] = float(any(r in seen for r in _runs(words, run)))
        return found


def _words(text: str) -> tuple[str, ...]:
    found, _ = units("".join(c if c.isalnum() or c.isspace() else " " for c in text.casefold()))
    return tuple(found)


def _runs(words: tuple[str, ...], run: int) -> Iterable[tuple[str, ...]]:
    return (words[i : i + run] for i in range(len(words) - run + 1))
