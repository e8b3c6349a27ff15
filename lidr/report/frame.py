"""The one tidy frame behind every table and figure: a row a number."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from lidr.config import LanguagesConfig
from lidr.evaluation import ALL, MEAN_NON_DOMINANT, MEAN_UNSEEN, PAIRS, Score
from lidr.evaluation.fidelity import UNBOUNDED
from lidr.evaluation.outcomes import observations
from lidr.evaluation.run import aggregates, gap_weights
from lidr.evaluation.scores import IMBALANCE_GAP
from lidr.evaluation.significance import holm, permutation_test
from lidr.evaluation.statistics import RATE_DIFFERENCE, difference
from lidr.report.metrics import model
from lidr.report.runs import Run

COLUMNS = (
    *("run", "benchmark", "language", "iteration", "model", "metric"),
    *("value", "low", "high", "n", "p", "gate", "judge"),
)


def tidy(runs: Sequence[Run]) -> pd.DataFrame:
    """All scores of all runs, then what changed from M_0 to the last model; shares are 0 to 1.

    p: of a change or a comparison, by a paired permutation test; those of a metric's languages are Holm-adjusted
    together. gate: why a value is not to be relied on. judge: who says it, where it is not measured.
    """
    return pd.DataFrame([row for run in runs for row in _rows(run)], columns=list(COLUMNS)).astype(
        {"value": float, "low": float, "high": float, "p": float}
    )


def _rows(run: Run) -> Iterator[tuple[Any, ...]]:
    for s in run.scores:
        yield _row(run, s, model(s.iteration), s.p)
    for benchmark in run.config.evaluation:
        last = last_iteration(run.scores, benchmark)
        if last:
            for change, p in _changes(run, benchmark, last):
                yield _row(run, change, change_name(last), p)


def _row(run: Run, s: Score, name: str, p: float | None = None) -> tuple[Any, ...]:
    place = (run.label, s.benchmark, s.language, s.iteration, name, s.metric)
    return (*place, s.value, s.low, s.high, s.n, p, s.gate, s.judge)


def change_name(last: int) -> str:
    """The column of what changed."""
    return f"{model(last)} - {model(0)}"


def last_iteration(scores: Iterable[Score], benchmark: str) -> int:
    """t of the last model that was evaluated; 0 where it is only M_0, or none."""
    return max((s.iteration for s in scores if s.benchmark == benchmark), default=0)


def _changes(run: Run, benchmark: str, last: int) -> Iterator[tuple[Score, float | None]]:
    """Paired differences from what each answer came to: none where the outcomes of M_0 are not there."""
    before, after = run.outcomes(benchmark, 0), run.outcomes(benchmark, last)
    present = {o.language for o in before} & {o.language for o in after}
    metrics = list(dict.fromkeys(s.metric for s in run.scores if s.benchmark == benchmark))
    for metric in metrics:
        source = (
            metric.removeprefix(IMBALANCE_GAP).lstrip("_") if metric.startswith(IMBALANCE_GAP) else metric
        )
        seen = observations(after, source or "accuracy"), observations(before, source or "accuracy")
        bounds = None if metric in UNBOUNDED else _bounds(metric)
        rows = list(_weights(metric, run.config.languages, present))
        tests = [permutation_test(*seen, weights) for _, weights in rows]
        single = [language in weights for language, weights in rows]
        adjusted = iter(holm([p for p, alone in zip(tests, single, strict=True) if alone]))
        for (language, weights), p, alone in zip(rows, tests, single, strict=True):
            estimate = difference(*seen, weights, bounds=bounds)
            yield Score.of(benchmark, language, last, metric, estimate), next(adjusted) if alone else p


def _bounds(metric: str) -> tuple[float, float]:
    low, high = RATE_DIFFERENCE
    return (2 * low, 2 * high) if metric.startswith(IMBALANCE_GAP) else (low, high)


def _weights(
    metric: str, languages: LanguagesConfig, present: set[str]
) -> Iterator[tuple[str, dict[Hashable, float]]]:
    """Every row of a metric's table, as weights of languages."""
    codes = [code for code in languages.all if code in present]
    non_dominant, unseen = aggregates(languages, codes)
    if metric.startswith(IMBALANCE_GAP):
        if languages.dominant in present and non_dominant:
            yield ALL, gap_weights(languages.dominant, non_dominant)
        return
    for code in codes:
        yield code, {code: 1.0}
    for label, group in ((MEAN_NON_DOMINANT, non_dominant), (MEAN_UNSEEN, unseen)):
        if group:
            yield label, {code: 1.0 / len(group) for code in group}


def select(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """The rows whose columns have these values; a list allows several."""
    chosen = frame
    for column, value in wanted.items():
        matches = chosen[column].isin(value) if isinstance(value, (list, tuple)) else chosen[column] == value
        chosen = chosen[matches]
    return chosen


def benchmarks(runs: Sequence[Run]) -> list[str]:
    """The benchmarks of all runs, in order, those of the pairs left out."""
    names = [s.benchmark for run in runs for s in run.scores] + [
        b for run in runs for b in run.config.evaluation
    ]
    return [name for name in dict.fromkeys(names) if name != PAIRS]
