"""Runs that differ in nothing but their seed, as one: a table per metric, averaged over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from lidr.config import LanguagesConfig, identity_values
from lidr.evaluation import MEAN_NON_DOMINANT, MEAN_UNSEEN
from lidr.evaluation.run import aggregates, gap_weights
from lidr.evaluation.seeds import SeedEstimate, over_seeds, table
from lidr.evaluation.statistics import RATE, RATE_DIFFERENCE
from lidr.report.frame import change_name, last_iteration
from lidr.report.grids import GAP_ROW, Grid
from lidr.report.metrics import MISSING, model, style, written
from lidr.report.runs import Run

METRICS = ("accuracy", "joint", "on_target", "off_target")
PROBLEMS = "problems"
NO_GAP = ("off_target",)
ByProblem = Mapping[str, float]


def seed_groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Groups of at least two runs whose configurations differ in the seed alone."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        values = {k: v for k, v in identity_values(run.config).items() if k != "seed"}
        groups.setdefault(repr(values), []).append(run)
    return [group for group in groups.values() if len(group) > 1]


def seed_grids(group: Sequence[Run], number: int) -> Iterator[Grid]:
    """Each benchmark's main metrics over the seeds of a group.

    Args:
        group: runs of one configuration.
        number: tells the files of several groups apart.
    """
    first = group[0]
    seeds = ", ".join(str(run.config.seed) for run in group)
    for benchmark in first.config.evaluation:
        last = min(last_iteration(run.scores, benchmark) for run in group)
        for metric in METRICS:
            if any(s.metric == metric and s.benchmark == benchmark for s in first.scores):
                yield _grid(group, benchmark, metric, last, f"seeds-{number}-{benchmark}-{metric}", seeds)


def _grid(group: Sequence[Run], benchmark: str, metric: str, last: int, name: str, seeds: str) -> Grid:
    models = range(last + 1)
    found = {t: [by_language(run, benchmark, metric, t) for run in group] for t in models}
    header = ("language", PROBLEMS, *map(model, models))
    if last:
        header += (change_name(last), "seeds, low to high")
    rows = [
        row
        for language, pick in language_rows(group[0].config.languages, with_gap=metric not in NO_GAP)
        if (row := _row(language, metric, [[pick(run) for run in found[t]] for t in models])) is not None
    ]
    return Grid(
        name=name,
        title=f"{style(metric).title} ({style(metric).unit}), mean over {len(group)} seeds",
        header=header,
        rows=tuple(rows),
        note=f"Seeds {seeds}. Intervals draw seeds and problems, both with replacement; differences are paired.",
    )


def _row(language: str, metric: str, values: Sequence[Sequence[ByProblem | None]]) -> tuple[str, ...] | None:
    tables = [table([v for v in seeds if v is not None]) for seeds in values]
    bounds = RATE_DIFFERENCE if language == GAP_ROW else RATE
    means = [over_seeds(t, bounds) for t in tables]
    if any(m is None for m in means):
        return None
    n = str(tables[0].shape[1])
    cells = [_cell(metric, m) for m in means if m is not None]
    if len(values) == 1:
        return (language, n, *cells)
    if tables[0].shape != tables[-1].shape:
        return (language, n, *cells, MISSING, MISSING)
    change = over_seeds(tables[-1] - tables[0], RATE_DIFFERENCE)
    spread = MISSING if change is None else _range(metric, change)
    return (language, n, *cells, _cell(metric, change, signed=True), spread)


def _cell(metric: str, found: SeedEstimate | None, signed: bool = False) -> str:
    if found is None:
        return MISSING
    value, low, high, _ = found.estimate
    return written(metric, value, low, high, signed=signed)


def _range(metric: str, found: SeedEstimate) -> str:
    ends = (written(metric, end, signed=True) for end in (found.lowest, found.highest))
    return " to ".join(ends)


def by_language(run: Run, benchmark: str, metric: str, iteration: int) -> dict[str, dict[str, float]]:
    """Each problem's measurement, by language."""
    found: dict[str, dict[str, float]] = {}
    for outcome in run.outcomes(benchmark, iteration):
        if metric in outcome.values:
            found.setdefault(outcome.language, {})[outcome.id] = outcome.values[metric]
    return found


Pick = Callable[[Mapping[str, ByProblem]], ByProblem | None]


def language_rows(languages: LanguagesConfig, with_gap: bool) -> Iterator[tuple[str, Pick]]:
    """Row labels, and how each row's number follows from the languages'."""
    for code in languages.all:
        yield code, lambda found, code=code: found.get(code)  # type: ignore[misc]
    non_dominant, unseen = aggregates(languages, languages.all)
    for label, codes in ((MEAN_NON_DOMINANT, non_dominant), (MEAN_UNSEEN, unseen)):
        if codes:
            weights = {code: 1.0 / len(codes) for code in codes}
            yield label, lambda found, weights=weights: weighted(found, weights)  # type: ignore[misc]
    gap = {str(code): weight for code, weight in gap_weights(languages.dominant, non_dominant).items()}
    if with_gap:
        yield GAP_ROW, lambda found: weighted(found, gap)


def weighted(found: Mapping[str, ByProblem], weights: Mapping[str, float]) -> ByProblem | None:
    """A weighted sum over languages, for the problems that all of them have."""
    if not all(code in found for code in weights):
        return None
    shared = set.intersection(*(set(found[code]) for code in weights))
    return {p: sum(weight * found[code][p] for code, weight in weights.items()) for p in shared}
