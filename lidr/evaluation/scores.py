"""One number of a model: what it measures, where, and how sure it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Self

from lidr.errors import LidrError
from lidr.evaluation.statistics import Estimate
from lidr.jsonl import is_number
from lidr.printable import short

MEAN_NON_DOMINANT = "mean non-dominant"
MEAN_UNSEEN = "mean unseen"
ALL = "all"
IMBALANCE_GAP = "imbalance_gap"
PAIRS = "pairs"
_MOST = 2**53


@dataclass(frozen=True)
class Score:
    """A metric of M_t.

    benchmark: the benchmark's name, or ``pairs`` for what the iteration's pairs say; with ``@`` and the judge's name
        behind it where a judge says it.
    language: a code, or an aggregate such as ``mean non-dominant``.
    value: shares are 0 to 1; None where nothing could be measured.
    low, high: 95 % interval; None where there is none.
    n: problems behind the value.
    p: p-value of a test that there is no difference, where the metric is one; Holm-adjusted over languages.
    gate: why the value is not to be relied on, where a gate that was set beforehand says so.
    judge: who says it; None where it is measured.
    """

    benchmark: str
    language: str
    iteration: int
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    p: float | None = None
    gate: str | None = None
    judge: str | None = None

    @property
    def subject(self) -> str:
        """What was judged, by whomever: the benchmark without its judge."""
        return self.benchmark if self.judge is None else self.benchmark.removesuffix(f"@{self.judge}")

    @classmethod
    def of(cls, benchmark: str, language: str, iteration: int, metric: str, estimate: Estimate) -> Self:
        """A score from an estimate."""
        return cls(benchmark, language, iteration, metric, *estimate)

    @classmethod
    def from_json(cls, record: Any, where: str) -> Self:
        """Reads a stored score.

        Raises:
            LidrError: the record has other fields, or values of other types.
        """
        is_score = isinstance(record, dict) and _NEEDED <= record.keys() <= _CHECKS.keys()
        if not is_score or not all(_CHECKS[key](value) for key, value in record.items()):
            raise LidrError(
                f"{short(json.dumps(record))} is no score",
                where=where,
                instead="delete the file and run the same command again: it is written anew",
            )
        return cls(**record)

    def to_json(self) -> dict[str, Any]:
        """Its fields; those of tests and judges only where there are any."""
        values = asdict(self)
        return {k: v for k, v in values.items() if v is not None or k in _NEEDED}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _is_estimate(value: object) -> bool:
    return value is None or is_number(value)


_CHECKS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("benchmark", "language", "metric"), _is_text),
    **dict.fromkeys(("iteration", "n"), _is_count),
    **dict.fromkeys(("value", "low", "high", "p"), _is_estimate),
    **dict.fromkeys(("gate", "judge"), _is_text),
}
_NEEDED = _CHECKS.keys() - {"p", "gate", "judge"}


def imbalance_gap(metric: str) -> str:
    """The name of the gap in a metric: dominant minus mean non-dominant."""
    return IMBALANCE_GAP if metric == "accuracy" else f"{IMBALANCE_GAP}_{metric}"
