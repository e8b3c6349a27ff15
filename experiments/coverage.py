"""How often intervals that are called 95 % cover the truth, in simulated benchmarks whose truth is known.

    python -m experiments.coverage [--worlds 4000] [--write docs/evaluation.md]

A world is one benchmark: problems of random difficulty, answers in several languages by two models, right or wrong.
Answers to one problem are correlated (`SHARED`), and each language's rate is exact. A few worlds of every cell go
through `lidr.evaluation` itself; for the others the same resamples are multiplied with all worlds at once, and the few
have to agree. Prints Markdown, or puts it into a page between its two marks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lidr.evaluation.length_control import length_controlled
from lidr.evaluation.seeds import over_seeds
from lidr.evaluation.statistics import (
    CONFIDENCE,
    RATE,
    RATE_DIFFERENCE,
    SAME,
    Estimate,
    Observation,
    difference,
    mean,
    mean_of_groups,
    resamples,
    without_spread,
)

Array = NDArray[Any]
SHARED = 0.5  # correlation, before it is cut into right and wrong, of two answers to one problem
SPREAD = np.array(
    [[-0.4], [0.0], [0.0], [0.4]]
)  # of four languages' rates, in parts of right or wrong, whichever is less
GAIN = 0.03  # what the second model is better by
ANSWERED = 0.8  # share of the answers that are there where some are missing
RATES = (0.02, 0.05, 0.1, 0.3, 0.5, 0.8, 0.95)
PROBLEMS = (50, 100, 250)
_CHECKED = 3  # worlds of a cell that go through the functions themselves
_BLOCK = 500  # worlds at a time
_MARKS = ("<!-- coverage -->", "<!-- /coverage -->")


class World(NamedTuple):
    """Benchmarks of one cell. right, there: [worlds, problems, languages, models]; truth: of the statistic."""

    right: Array
    there: Array
    weights: Array  # [languages, models]
    truth: float


class Statistic(NamedTuple):
    """A number of a table. rates: of its languages (rows) and models (columns) around a cell's rate."""

    title: str
    rates: Callable[[float], Array]
    weights: Array
    answered: float
    bounds: tuple[float, float]
    own: Callable[[list[Observation], list[Observation]], Estimate]


def _languages(count: int) -> list[str]:
    return [f"l{i}" for i in range(count)]


_FOUR, _EVEN = _languages(4), np.full((4, 1), 0.25)
STATISTICS = (
    Statistic(
        "mean, one language",
        lambda r: np.array([[r]]),
        np.ones((1, 1)),
        1.0,
        RATE,
        lambda found, _: mean(found),
    ),
    Statistic(
        "mean of all answers, four to a problem, a fifth of them missing",
        lambda r: np.full((4, 1), r),
        np.ones((1, 1)),
        ANSWERED,
        RATE,
        lambda found, _: mean(found),
    ),
    Statistic(
        "mean of four languages",
        lambda r: r + SPREAD * min(r, 1 - r),
        _EVEN,
        1.0,
        RATE,
        lambda found, _: mean_of_groups(found, _FOUR),
    ),
    Statistic(
        "difference of two models, one language",
        lambda r: np.array([[r, r + GAIN]]),
        np.array([[-1.0, 1.0]]),
        1.0,
        RATE_DIFFERENCE,
        lambda before, after: difference(after, before, {"l0": 1.0}),
    ),
    Statistic(
        "difference of two models, mean of four languages",
        lambda r: np.array([[r, r + GAIN]] * 4),
        np.array([[-0.25, 0.25]] * 4),
        1.0,
        RATE_DIFFERENCE,
        lambda before, after: difference(after, before, dict.fromkeys(_FOUR, 0.25)),
    ),
)


def simulate(
    statistic: Statistic, rate: float, problems: int, worlds: int, rng: np.random.Generator
) -> World:
    """Draws benchmarks. Half of what makes an answer right is the problem's, the rest the answer's own."""
    rates = statistic.rates(rate)
    shape = (worlds, problems, *rates.shape)
    latent = np.sqrt(SHARED) * rng.standard_normal((worlds, problems, 1, 1)) + np.sqrt(
        1 - SHARED
    ) * rng.standard_normal(shape)
    right = latent < stats.norm.ppf(rates)
    there = rng.random(shape) < statistic.answered
    there[:, :, 0] |= ~there.any(axis=2)  # every problem has an answer
    pooled = statistic.weights.shape != rates.shape
    truth = float(rates.mean() if pooled else (rates * statistic.weights).sum())
    return World(right & there, there, statistic.weights, truth)


def intervals(world: World, bounds: tuple[float, float]) -> Array:
    """[worlds, 2]: what `lidr.evaluation.statistics.combine` gives for each, from the same resamples."""
    pooled = world.weights.shape != world.right.shape[2:]
    sums, counts = world.right, world.there
    if pooled:
        sums, counts = (t.sum(axis=(2, 3)).reshape(*t.shape[:2], 1, 1) for t in (sums, counts))
    ends = [
        _percentiles(sums[start : start + _BLOCK], counts[start : start + _BLOCK], world.weights, bounds)
        for start in range(0, len(sums), _BLOCK)
    ]
    return np.concatenate(ends)


def _percentiles(sums: Array, counts: Array, weights: Array, bounds: tuple[float, float]) -> Array:
    worlds, problems = sums.shape[:2]
    times = np.concatenate(list(resamples(problems))).T
    draws = np.zeros((worlds, times.shape[1]))
    for (language, model), weight in np.ndenumerate(weights):
        totals = sums[:, :, language, model].astype(np.float32) @ times  # whole numbers: exact
        drawn = counts[:, :, language, model].astype(np.float32) @ times
        draws += weight * (totals.astype(float) / drawn)
    tail = (1 - CONFIDENCE) / 2
    found: Array = np.quantile(draws, [tail, 1 - tail], axis=1).T
    for still in np.flatnonzero(np.ptp(draws, axis=1) < SAME):
        found[still] = without_spread(float(draws[still, 0]), problems, bounds)
    return found


def checked(statistic: Statistic, world: World, found: Array) -> None:
    """Compares the first worlds with the function itself.

    Raises:
        AssertionError: they differ.
    """
    for number in range(min(_CHECKED, len(found))):
        models = [_observations(world, number, model) for model in range(world.right.shape[3])]
        own = statistic.own(models[0], models[-1])
        assert own.low is not None
        assert own.high is not None
        assert np.allclose(found[number], (own.low, own.high), atol=1e-6), statistic.title


def _observations(world: World, number: int, model: int) -> list[Observation]:
    return [
        Observation(f"p{problem:04}", f"l{language}", float(world.right[number, problem, language, model]))
        for problem, language in np.argwhere(world.there[number, :, :, model])
    ]


def coverage(statistic: Statistic, rate: float, problems: int, worlds: int, seed: int = 0) -> float:
    """The share of worlds whose interval holds the truth."""
    rng = np.random.default_rng([seed, problems, round(1000 * rate), STATISTICS.index(statistic)])
    world = simulate(statistic, rate, problems, worlds, rng)
    found = intervals(world, statistic.bounds)
    checked(statistic, world, found)
    return _share(found[:, 0], found[:, 1], world.truth)


def _share(low: Array, high: Array, truth: float) -> float:
    """Ends that the truth lies on, up to rounding, hold it."""
    return float(np.mean((low <= truth + SAME) & (truth <= high + SAME)))


def seeds_coverage(rate: float, seeds: int, problems: int, share: float, worlds: int, seed: int = 0) -> float:
    """Of `over_seeds`: every seed answers the same problems.

    Args:
        share: of the variance behind right and wrong that is the seed's; what is not the problem's is the answer's.
    """
    rng = np.random.default_rng([seed, seeds, problems, round(1000 * rate), round(1000 * share)])
    parts = (SHARED, (1, problems)), (share, (seeds, 1)), (1 - SHARED - share, (seeds, problems))
    threshold, ends = stats.norm.ppf(rate), []
    for _ in range(worlds):
        latent = sum(np.sqrt(part) * rng.standard_normal(shape) for part, shape in parts)
        found = over_seeds((latent < threshold).astype(float))
        assert found is not None
        ends.append((found.estimate.low, found.estimate.high))
    return _share(*np.array(ends).T, rate)


def length_coverage(rate: float, problems: int, worlds: int, seed: int = 0) -> float:
    """Of `length_controlled`: a judge who likes length, and a model that writes 400 characters more."""
    rng = np.random.default_rng([seed, problems, round(1000 * rate)])
    level, ends = np.log(rate / (1 - rate)), []
    for _ in range(worlds):
        baseline = rng.integers(500, 2500, size=problems)
        lengths = baseline + rng.normal(400, 500, size=problems).astype(int)
        gap = lengths - baseline
        chance = 1 / (1 + np.exp(-(level + np.tanh(gap / gap.std()))))
        wins = (rng.random(problems) < chance).astype(float)
        found = length_controlled(wins.tolist(), lengths.tolist(), baseline.tolist())
        ends.append((found.low, found.high))
    return _share(*np.array(ends).T, rate)


def tables(worlds: int) -> Iterator[str]:
    """The page's tables, line by line; the slow ones have fewer worlds."""
    for statistic in STATISTICS:
        yield from _table(
            f"{statistic.title[0].upper()}{statistic.title[1:]}",
            "problems",
            {f"{rate:g}": rate for rate in RATES},
            {str(n): n for n in PROBLEMS},
            lambda rate, n, s=statistic: coverage(s, rate, n, worlds),
        )
    few, fewest = max(1, worlds // 4), max(1, worlds // 10)
    yield from _table(
        f"Mean over seeds and problems (`over_seeds`), rate 0.5, {few:,} worlds; the columns say how much of what"
        " makes an answer right is the seed's",
        "seeds x problems",
        {"nothing": 0.0, "2 %": 0.02, "10 %": 0.1},
        {f"{s} x {n}": (s, n) for s in (2, 3, 5, 10) for n in (50, 250)},
        lambda share, size: seeds_coverage(0.5, *size, share, few),
    )
    yield from _table(
        f"Win rate at equal length (`length_controlled`), {fewest:,} worlds",
        "problems",
        {f"{rate:g}": rate for rate in (0.3, 0.5, 0.8)},
        {str(n): n for n in PROBLEMS},
        lambda rate, n: length_coverage(rate, n, fewest),
    )


def _table(
    title: str, corner: str, columns: dict[str, Any], rows: dict[str, Any], cell: Callable[[Any, Any], float]
) -> Iterator[str]:
    yield from (f"{title}:", "", f"| {corner} | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}")
    for name, row in rows.items():
        yield f"| {name} | {' | '.join(f'{100 * cell(column, row):.1f}' for column in columns.values())} |"
    yield ""


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the tables, or writes them into a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=4000, help="benchmarks of a cell")
    parser.add_argument("--write", type=Path, help="page with the two marks")
    args = parser.parse_args(argv)
    lines = []
    for line in tables(args.worlds):
        lines.append(line)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    if args.write is not None:
        page = args.write.read_text(encoding="utf-8")
        before, rest = page.split(_MARKS[0])
        behind = rest.split(_MARKS[1])[1]
        text = "\n".join(lines).rstrip()
        args.write.write_text(f"{before}{_MARKS[0]}\n{text}\n{_MARKS[1]}{behind}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
