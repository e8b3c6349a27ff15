"""A cell's own number: as it is stored, or from what each answer came to where it is not."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lidr.config import LanguagesConfig
from lidr.evaluation import ALL, MEAN_NON_DOMINANT, MEAN_UNSEEN, Score
from lidr.evaluation.run import gap_weights
from lidr.evaluation.scores import IMBALANCE_GAP
from lidr.evaluation.seeds import over_seeds, table
from lidr.evaluation.statistics import RATE, RATE_DIFFERENCE, Observation, combine
from lidr.evaluation.texts import UNBOUNDED
from lidr.report.runs import Run
from lidr.report.seeds import weighted
from lidr.tables.answers import Measurements, judged_names, measurements
from lidr.tables.editions import TRAINING, Source

RATING = (0.0, 10.0)
_TAIL = 10
_COUNTS = ("pairs", "steps")


class Measured(NamedTuple):
    """A number with its 95 % interval; low and high are None where there is none. n: problems."""

    value: float
    low: float | None
    high: float | None
    n: int
    note: str = ""


@dataclass(frozen=True)
class Wanted:
    """Which number of a run.

    languages: codes or one aggregate; of several codes the mean, weighed equally.
    against: t of the model that M_t is compared with, answer by answer; None where it is not compared.
    """

    source: Source
    languages: tuple[str, ...]
    iteration: int | Literal["last"]
    against: int | None = None

    def t(self, run: Run) -> int:
        return run.config.iterations if self.iteration == "last" else self.iteration


def measure(runs: Sequence[Run], wanted: Wanted) -> Measured | None:
    """The number over all runs of a row, which differ in their seed alone; None where one of them has none."""
    if not runs:
        return None
    if len(runs) == 1 and wanted.source.benchmark == TRAINING:
        return _training(runs[0], wanted)
    if len(runs) == 1:
        return _stored(runs[0], wanted) or _computed(runs[0], wanted) or _mean_of_stored(runs[0], wanted)
    return _over_seeds(runs, wanted) or _mean_over_seeds(runs, wanted)


def _stored(run: Run, wanted: Wanted) -> Measured | None:
    if len(wanted.languages) != 1:
        return None
    score = _scores(run, wanted).get(wanted.languages[0])
    if score is None or score.value is None:
        return None
    return Measured(score.value, score.low, score.high, score.n)


def _scores(run: Run, wanted: Wanted) -> dict[str, Score]:
    """By language."""
    (benchmark, metric, judge), iteration = wanted.source, wanted.t(run)
    names = judged_names(benchmark, iteration, wanted.against) if judge else [benchmark]
    return {
        s.language: s
        for s in run.scores
        if s.subject in names and (s.judge, s.metric, s.iteration) == (judge, metric, iteration)
    }


def _computed(run: Run, wanted: Wanted) -> Measured | None:
    """From the outcomes of single answers, each problem with all its languages."""
    weights = _weights(run.config.languages, wanted)
    found = _outcomes(run, wanted)
    if weights is None or not all(found.get(code) for code in weights):
        return None
    seen = [Observation(p, code, v) for code in weights for p, v in found[code].items()]
    grouped: dict[Hashable, float] = dict(weights.items())
    estimate = combine(seen, grouped, bounds=_bounds(wanted))
    if estimate.value is None:
        return None
    return Measured(estimate.value, estimate.low, estimate.high, estimate.n)


def _outcomes(run: Run, wanted: Wanted) -> Measurements:
    """Each problem's measurement, by language."""
    benchmark, metric, judge = wanted.source
    of = metric.removeprefix(IMBALANCE_GAP).lstrip("_") or "accuracy" if _is_gap(metric) else metric
    return measurements(run, benchmark, of, wanted.t(run), judge, wanted.against)


def _weights(languages: LanguagesConfig, wanted: Wanted) -> dict[str, float] | None:
    """By language code; None where the label is no language of the run."""
    if _is_gap(wanted.source.metric):
        return {str(k): v for k, v in gap_weights(languages.dominant, languages.non_dominant).items()}
    groups = {MEAN_NON_DOMINANT: languages.non_dominant, MEAN_UNSEEN: languages.unseen}
    codes = groups.get(wanted.languages[0], wanted.languages)
    if not codes or not set(codes) <= set(languages.all):
        return None
    return {code: 1.0 / len(codes) for code in codes}


def _is_gap(metric: str) -> bool:
    return metric.startswith(IMBALANCE_GAP)


def _bounds(wanted: Wanted) -> tuple[float, float] | None:
    if wanted.source.metric in UNBOUNDED:
        return None
    if _is_gap(wanted.source.metric):
        return RATE_DIFFERENCE
    return RATING if wanted.source.metric.startswith("rating") else RATE


def _mean_of_stored(run: Run, wanted: Wanted) -> Measured | None:
    """The mean of stored scores of languages, where no single answers are stored; without an interval."""
    scores = _scores(run, wanted)
    codes = [code for code in scores if code in run.config.languages.all]
    wished = codes if wanted.languages == (ALL,) else wanted.languages
    values = [scores[code].value for code in wished if code in scores]
    known = [value for value in values if value is not None]
    if not known or len(known) != len(wished) or len(wished) == 1:
        return None
    n = min(scores[code].n for code in wished)
    return Measured(sum(known) / len(known), None, None, n, f"mean of {len(known)} languages")


def _training(run: Run, wanted: Wanted) -> Measured | None:
    """How many pairs or steps a training had, or the mean of its last steps as `lidr report` has it; n counts them."""
    counts = run.trained.get(wanted.t(run), {})
    if wanted.source.metric in _COUNTS:
        count = counts.get(wanted.source.metric)
        return None if count is None else Measured(float(count), None, None, int(count))
    key = f"train/{wanted.source.metric}"
    values = [float(r[key]) for r in list(run.training.get(wanted.t(run), ()))[-_TAIL:] if key in r]
    if not values:
        return None
    return Measured(
        sum(values) / len(values),
        None,
        None,
        len(values),
        f"mean of the last {len(values)} steps, which n counts",
    )


def _over_seeds(runs: Sequence[Run], wanted: Wanted) -> Measured | None:
    """From the outcomes of single answers; where each seed has problems of its own, of all of them together."""
    weights = _weights(runs[0].config.languages, wanted)
    if weights is None or wanted.source.benchmark == TRAINING:
        return None
    each = [_outcomes(run, wanted) for run in runs]
    if not all(found.get(code) for found in each for code in weights):
        return None
    if any(set(found[code]) != set(each[0][code]) for found in each for code in weights):
        return pooled(each, weights, wanted)
    rows = [weighted(found, weights) for found in each]
    found = over_seeds(table([row for row in rows if row is not None]), _bounds(wanted))
    if found is None:
        return None
    value, low, high, n = found.estimate
    return None if value is None else Measured(value, low, high, n, f"mean over {len(runs)} seeds")


def pooled(each: Sequence[Measurements], weights: Mapping[str, float], wanted: Wanted) -> Measured | None:
    """The number over all problems of all seeds, each drawn as one: a problem that two seeds have counts twice."""
    seen = [
        Observation(f"{seed} {problem}", code, value)
        for seed, found in enumerate(each)
        for code in weights
        for problem, value in found[code].items()
    ]
    estimate = combine(seen, {str(k): v for k, v in weights.items()}, bounds=_bounds(wanted))
    if estimate.value is None:
        return None
    note = f"over {len(each)} seeds, each with problems of its own, which n counts together"
    return Measured(estimate.value, estimate.low, estimate.high, estimate.n, note)


def _mean_over_seeds(runs: Sequence[Run], wanted: Wanted) -> Measured | None:
    """Where no single answers are stored."""
    each = [measure([run], wanted) for run in runs]
    known: Mapping[int, Measured] = {i: m for i, m in enumerate(each) if m is not None}
    if len(known) != len(runs):
        return None
    values = [m.value for m in known.values()]
    note = f"mean over {len(runs)} seeds, {min(values):.3g} to {max(values):.3g}, without an interval"
    return Measured(sum(values) / len(values), None, None, min(m.n for m in known.values()), note)
