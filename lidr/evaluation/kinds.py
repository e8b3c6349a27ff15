"""The kinds of benchmarks: how one answer is scored, and which numbers that gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lidr.config import BenchmarkKind
from lidr.evaluation import arithmetic, fidelity, lab
from lidr.evaluation.checked import GAP_METRICS
from lidr.evaluation.outcomes import Outcome
from lidr.records import Prompt, Response


class Kind(NamedTuple):
    """A kind of benchmark.

    Attributes:
        outcome: what an answer came to, told among the languages of the run.
        metrics: in the order of tables.
        gap_metrics: those whose imbalance gap is a number of its own.
        unbounded: those that are no shares.
    """

    outcome: Callable[[Prompt, Response, Sequence[str]], Outcome]
    metrics: tuple[str, ...]
    gap_metrics: tuple[str, ...] = ()
    unbounded: tuple[str, ...] = ()


KINDS = {
    BenchmarkKind.LAB: Kind(lab.outcome, lab.METRICS, GAP_METRICS),
    BenchmarkKind.ARITHMETIC: Kind(arithmetic.outcome, arithmetic.METRICS, GAP_METRICS),
    BenchmarkKind.FIDELITY: Kind(fidelity.outcome, fidelity.METRICS, unbounded=fidelity.UNBOUNDED),
}
