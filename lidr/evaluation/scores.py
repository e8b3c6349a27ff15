"""One number of a model: what it measures, where, and how sure it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from lidr.errors import LidrError
from lidr.evaluation.statistics import Estimate

MEAN_NON_DOMINANT = "mean non-dominant"
MEAN_UNSEEN = "mean unseen"
ALL = "all"
IMBALANCE_GAP = "imbalance_gap"
PAIRS = "pairs"


@dataclass(frozen=True)
class Score:
    """A metric of M_t.

    benchmark: the benchmark's name, or ``pairs`` for what the iteration's pairs say.
    language: a code, or an aggregate such as ``mean non-dominant``.
    value: shares are 0 to 1; None where nothing could be measured.
    low, high: 95 % interval; None where there is none.
    n: problems behind the value.
    p: p-value of a test that there is no difference, where the metric is one; Holm-adjusted over languages.
    gate: why the value is not to be relied on, where a gate that was set beforehand says so.
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

    @classmethod
    def of(cls, benchmark: str, language: str, iteration: int, metric: str, estimate: Estimate) -> Self:
        """A score from an estimate."""
        return cls(benchmark, language, iteration, metric, *estimate)

    @classmethod
    def from_json(cls, record: dict[str, Any], where: str) -> Self:
        """Reads a stored score.

        Raises:
            LidrError: the record has other fields.
        """
        try:
            return cls(**record)
        except TypeError:
            raise LidrError(
                "not a score", where=where, instead="delete the file, it is written anew"
            ) from None

    def to_json(self) -> dict[str, Any]:
        """Its fields; p and gate only where there are any."""
        values = asdict(self)
        return {k: v for k, v in values.items() if v is not None or k not in ("p", "gate")}


def imbalance_gap(metric: str) -> str:
    """The name of the gap in a metric: dominant minus mean non-dominant."""
    return IMBALANCE_GAP if metric == "accuracy" else f"{IMBALANCE_GAP}_{metric}"
