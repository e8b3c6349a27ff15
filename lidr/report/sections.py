"""What a report says, in order: titled groups of tables with the figures that belong to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pandas as pd

from lidr.config.judge_schema import AGREEMENT
from lidr.evaluation import PAIRS
from lidr.report import figures, grids, stages
from lidr.report.frame import benchmarks
from lidr.report.grids import Grid
from lidr.report.runs import Run
from lidr.report.seeds import seed_grids, seed_groups
from lidr.report.sweep import Sweep
from lidr.report.sweep_grids import sweep_grids

SYNTHETIC = (
    "These numbers come from the **synthetic lab world**: a miniature in which every answer can be checked. "
    "They show how the method works and compare settings; they say nothing about real language ability."
)
READING = (
    "A cell is `value [low, high]`: the 95 % percentile bootstrap interval, drawn over problems, each with "
    "all its answers. Differences are paired: both models answer each drawn problem; p is a paired permutation "
    "test's, Holm-adjusted over a table's languages (not over tables). n counts problems. "
    "`mean non-dominant` and `mean unseen` weigh languages equally; the imbalance gap is the dominant score "
    "minus `mean non-dominant`. A dash is a number that is not there. A single run's interval says what other "
    "problems would change, and nothing about other seeds."
)


class Topic(StrEnum):
    SETTINGS = "settings"
    SWEEP = "sweep"
    SEEDS = "seeds"
    BENCHMARK = "benchmark"
    RUN = "run"
    REWARDS = "rewards"
    AUDIT = "audit"
    TRAINING = "training"
    EXAMPLES = "examples"


@dataclass(frozen=True)
class Section:
    """A heading with its tables.

    figures: the PNG files that stand in it. subject: the benchmark's name or the run's label where the topic has one.
    sweep: what the section of a sweep is about.
    """

    topic: Topic
    title: str
    grids: tuple[Grid, ...]
    figures: tuple[Path, ...] = ()
    subject: str = ""
    sweep: Sweep | None = None


def sections(
    runs: Sequence[Run], frame: pd.DataFrame, drawn: Sequence[Path], sweep: Sweep | None
) -> Iterator[Section]:
    """Every section there is something to say in.

    Args:
        runs: one, or several to compare.
        frame: their tidy frame.
        drawn: the figures' files.
        sweep: what the runs are the settings of, where they are.
    """
    yield Section(Topic.SETTINGS, "Settings", (stages.settings_grid(runs),))
    if sweep is not None:
        pictures = tuple(p for p in drawn if p.suffix == ".png" and p.name.startswith("sweep-"))
        swept = ", ".join(axis.name for axis in sweep.axes)
        title = f"Sweep over {swept}"
        yield Section(Topic.SWEEP, title, tuple(sweep_grids(sweep)), pictures, sweep=sweep)
    for number, group in enumerate(seed_groups(runs), start=1):
        title = f"Over {len(group)} seeds: {group[0].config.name}"
        yield Section(Topic.SEEDS, title, tuple(seed_grids(group, number)))
    for benchmark in benchmarks(runs):
        begins = f"{figures.slug(benchmark)}-"
        pictures = tuple(p for p in drawn if p.suffix == ".png" and p.name.startswith(begins))
        if len(runs) == 1:
            own = tuple(g for g in grids.run_grids(runs[0], frame) if g.name.startswith(f"{benchmark}-"))
            yield Section(Topic.BENCHMARK, _title(benchmark, runs), own, pictures, benchmark)
        else:
            side = tuple(
                g for g in grids.comparison_grids(runs, frame) if g.name.startswith(f"compare-{benchmark}-")
            )
            title = f"{_title(benchmark, runs)}: runs side by side"
            yield Section(Topic.BENCHMARK, title, side, pictures, benchmark)
    if len(runs) > 1:
        for number, run in enumerate(runs, start=1):
            own = tuple(grids.run_grids(run, frame, f"run-{number}-"))
            yield Section(Topic.RUN, f"Run {run.label}", own, subject=run.label)
    yield from _stages(runs, frame, drawn)


def _stages(runs: Sequence[Run], frame: pd.DataFrame, drawn: Sequence[Path]) -> Iterator[Section]:
    rewards = tuple(grids.reward_grids(runs, frame))
    if rewards:
        yield Section(Topic.REWARDS, "Do the pairs point at the right answer", rewards)
    audits = tuple(stages.audit_grids(runs))
    if audits:
        yield Section(Topic.AUDIT, "What became of the pairs", audits)
    curves = tuple(p for p in drawn if p.name == "training.png")
    yield Section(Topic.TRAINING, "Training", (stages.training_grid(runs),), curves)
    examples = tuple(stages.example_grids(runs))
    if examples:
        yield Section(Topic.EXAMPLES, "Pairs to read", examples)


def _title(benchmark: str, runs: Sequence[Run]) -> str:
    kinds = [str(run.config.evaluation[benchmark].kind) for run in runs if benchmark in run.config.evaluation]
    note = " (synthetic lab world)" if "lab" in kinds else ""
    judged = next((s for run in runs for s in run.scores if s.benchmark == benchmark and s.judge), None)
    if judged is not None:
        what, judge = judged.subject, judged.judge
        return f"{what}: agreement of the judges" if judge == AGREEMENT else f"{what}, judged by {judge}"
    return f"Benchmark {benchmark}{note}" if benchmark != PAIRS else PAIRS


def is_zero(grid: Grid) -> bool:
    """Whether a table of shares says no more than that nothing of the kind happened."""
    return grid.source is not None and not grid.source.empty and bool(grid.source["value"].eq(0).all())
