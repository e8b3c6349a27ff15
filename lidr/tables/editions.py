"""Which runs fill a table: at the paper's scale or in the lab, and which of them stand in which row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from lidr.config import RunConfig, differences, identity_values, read_config
from lidr.config.judge_schema import AGREEMENT
from lidr.errors import LidrError, did_you_mean
from lidr.evaluation import Score
from lidr.evaluation.statistics import Estimate
from lidr.report.runs import Run, read_runs
from lidr.store import RunDirectory, find_runs
from lidr.tables.answers import CHOSEN, REJECTED
from lidr.tables.headers import run_name
from lidr.tables.spec import Metric, Row, TableSpec

TRAINING, CALIBRATION = "training", "calibration"
_ANY = "*"
_AT = "@"  # in specs, before the judge


class Scale(StrEnum):
    """paper: the real models and benchmarks. lab: the same method in the built-in synthetic world."""

    PAPER = "paper"
    LAB = "lab"


class Source(NamedTuple):
    """Which score: ``<benchmark>/<metric>``, or a judge's, ``<benchmark>@<judge>/<metric>``; ``*`` is any judge."""

    benchmark: str
    metric: str
    judge: str | None = None

    @classmethod
    def of(cls, row: Row, metric: Metric, scale: Scale) -> Source | None:
        """Of a cell; None where the scale has no such number, or the block no such row."""
        paper = scale is Scale.PAPER
        text = (row.measure or metric.measure) if paper else (row.lab or metric.lab)
        if text is None or (metric.rows is not None and row.label not in metric.rows):
            return None
        benchmark, name = text.rsplit("/", 1)
        benchmark, _, judge = benchmark.partition(_AT)
        own = row.benchmark if paper else row.lab_benchmark
        wanted = (row.judge if paper else row.lab_judge) if judge == _ANY else None
        return cls(own or benchmark, name, wanted or judge or None)

    def judged_by(self, judge: str | None) -> Source:
        """The source under one judge."""
        return self._replace(judge=judge) if judge and self.judge == _ANY else self

    def matches(self, score: Score) -> bool:
        """Whether a stored score is of this benchmark and judge, whoever the opponent."""
        judged = score.judge is not None
        if judged != (self.judge is not None) or score.subject.partition(" vs ")[0] != self.benchmark:
            return False
        return score.judge not in (None, AGREEMENT) if self.judge == _ANY else score.judge == self.judge

    def is_in(self, run: Run) -> bool:
        """Whether a run may have such a number: a score, or the texts that it is made from."""
        if self.benchmark in (CHOSEN, REJECTED):
            return bool(run.pairs)
        return any(self.matches(score) for score in run.scores)


def shown(metric: Metric, scale: Scale) -> str:
    """What a block shows: in the lab that may be another quantity than the paper's, such as accuracy for a rating."""
    if scale is Scale.PAPER or metric.lab is None or metric.lab == metric.measure:
        return metric.name
    return metric.lab.rpartition("/")[2]


@dataclass(frozen=True)
class Edition:
    """The runs that a table is made of.

    main: names of runs that stand for the table's first experiment, beside its own.
    judge: whose scores are shown; None where there is no judge. passed_over: runs without a score for the table.
    scales: of judges by name and language, where the table is of calibrations.
    """

    table: TableSpec
    scale: Scale
    runs: tuple[Run, ...]
    judge: str | None = None
    main: frozenset[str] = frozenset()
    passed_over: tuple[Path, ...] = ()
    scales: Mapping[str, Mapping[str, Mapping[str, Estimate]]] = field(default_factory=dict)

    def group(self, row: Row) -> list[Run]:
        """The runs of a row: none, one, or several that differ in their seed alone.

        Raises:
            LidrError: runs that differ in more could stand here.
        """
        fitting = [run for run in self.runs if self._is_of(run, row) and fits(run.config, self._where(row))]
        values = [{k: v for k, v in identity_values(run.config).items() if k != "seed"} for run in fitting]
        keys = sorted({key for other in values[1:] for key in differences(values[0], other)})
        if keys:
            raise LidrError(
                f"{len(fitting)} runs could stand in row {row.label!r}; they differ in {', '.join(keys)}",
                where=f"table {self.table.name}",
                instead=f"name the one that is meant: lidr table {self.table.name} {fitting[0].root}",
            )
        seeds = [run.config.seed for run in fitting]
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            places = ", ".join(str(run.root) for run in fitting if run.config.seed == twice[0])
            raise LidrError(
                f"two runs of seed {twice[0]} could stand in row {row.label!r}",
                where=places,
                instead="name one of them",
            )
        return fitting

    def _is_of(self, run: Run, row: Row) -> bool:
        first = self.table.experiments[:1]
        own = row.experiment is not None and run.config.name == run_name(row.experiment)
        return own or (run.config.name in self.main and (row.experiment,) == first)

    def _where(self, row: Row) -> Mapping[str, Any]:
        in_lab = self.scale is Scale.LAB and row.lab_where is not None
        return row.lab_where or {} if in_lab else row.where


def fits(config: RunConfig, where: Mapping[str, Any]) -> bool:
    """Whether a run has these values."""
    values = identity_values(config)
    return all(values.get(key) == value for key, value in where.items())


def sources(table: TableSpec, scale: Scale) -> list[Source]:
    """Every score a table shows; what a training leaves is none."""
    found = [
        Source.of(row, metric, scale) for row in table.rows if row.experiment for metric in table.metrics
    ]
    scored = [
        source for source in found if source is not None and source.benchmark not in (TRAINING, CALIBRATION)
    ]
    if scale is Scale.PAPER:
        own = [column.benchmark for column in table.columns if column.benchmark]
        scored += [source._replace(benchmark=name) for source in scored for name in own]
    return list(dict.fromkeys(scored))


def named(
    table: TableSpec, folders: Sequence[Path], scale: Scale | None = None, judge: str | None = None
) -> Edition:
    """The edition of runs that a reader names.

    Raises:
        LidrError: a folder holds no run, or none of its runs has a score for the table.
    """
    roots: list[Path] = []
    for folder in folders:
        below = [run.root for run in find_runs(folder)]
        if not below:
            raise LidrError(
                "no run at or below this folder", where=str(folder), instead="a folder such as outputs/lab"
            )
        roots += [root for root in below if root.resolve() not in {r.resolve() for r in roots}]
    runs = read_runs(roots)
    chosen = scale or _scale_of(table, runs)
    useful = [run for run in runs if _is_useful(run, table, chosen)]
    for folder in folders:
        inside = [run for run in runs if run.root.resolve().is_relative_to(folder.resolve())]
        if not any(run in useful for run in inside):
            raise _useless(table, chosen, folder, inside)
    strangers = frozenset(run.config.name for run in useful) - set(map(run_name, table.experiments))
    return _edition(table, chosen, runs, useful, judge, strangers)


def found_in(
    table: TableSpec, outputs: Path, scale: Scale | None = None, judge: str | None = None
) -> Edition:
    """The edition of the finished runs of the table's experiments below an outputs folder; there may be none."""
    roots = [
        run.root
        for name in dict.fromkeys(map(run_name, table.experiments))
        if (outputs / name).is_dir()
        for run in find_runs(outputs / name)
        if is_finished(run, name)
    ]
    runs = read_runs(roots) if roots else []
    chosen = scale or _scale_of(table, runs)
    useful = [run for run in runs if _is_useful(run, table, chosen)]
    return _edition(table, chosen, runs, useful, judge, frozenset())


def is_finished(run: RunDirectory, experiment: str) -> bool:
    """Whether a folder holds a whole run of an experiment."""
    return run.state() == "done" and read_config(run.root / "config.yaml").name == experiment


def _edition(
    table: TableSpec,
    scale: Scale,
    runs: Sequence[Run],
    useful: Sequence[Run],
    judge: str | None,
    main: frozenset[str],
) -> Edition:
    return Edition(
        table=table,
        scale=scale,
        runs=tuple(useful),
        judge=_judge(table, scale, useful, judge),
        main=main,
        passed_over=tuple(run.root for run in runs if run not in useful),
    )


def _scale_of(table: TableSpec, runs: Iterable[Run]) -> Scale:
    """The paper's wherever a run of real prompts has its benchmark; else the lab's where runs have that."""
    listed = list(runs)
    at = [scale for scale in Scale if any(_is_useful(run, table, scale) for run in listed)]
    return at[0] if at else Scale.PAPER


def _is_useful(run: Run, table: TableSpec, scale: Scale) -> bool:
    is_of_scale = run.has_lab == (scale is Scale.LAB)
    return is_of_scale and any(source.is_in(run) for source in sources(table, scale))


def _useless(table: TableSpec, scale: Scale, folder: Path, runs: Sequence[Run]) -> LidrError:
    there = sorted({score.benchmark for run in runs for score in run.scores})
    wanted = sorted({_named(s) for at in Scale for s in sources(table, at)})
    other = [at for at in Scale if at is not scale and any(_is_useful(run, table, at) for run in runs)]
    instead = f"--scale {other[0]}" if other else f"lidr table {table.name}, which names the command to run"
    return LidrError(
        f"no score of {' or '.join(wanted)} for table {table.name} at scale={scale}; "
        f"it has {', '.join(there) or 'no scores yet'}",
        where=str(folder),
        instead=instead,
    )


def _named(source: Source) -> str:
    judge = "<judge>" if source.judge == _ANY else source.judge
    return source.benchmark + (f"{_AT}{judge}" if judge else "")


def _judge(table: TableSpec, scale: Scale, runs: Sequence[Run], wanted: str | None) -> str | None:
    judges = sorted(set(_judges(sources(table, scale), [s for run in runs for s in run.scores])))
    usual = table.judge if scale is Scale.PAPER else table.lab_judge
    if wanted is not None and wanted not in judges:
        raise LidrError(
            f"no score of judge {wanted!r}",
            where=f"table {table.name}",
            instead=did_you_mean(wanted, judges) if judges else "leave --judge out",
        )
    if wanted is None and usual in judges:
        return usual
    if wanted is None and len(judges) > 1:
        raise LidrError(
            f"scores of several judges: {', '.join(judges)}",
            where=f"table {table.name}",
            instead=f"type --judge {judges[0]}",
        )
    return wanted or next(iter(judges), None)


def _judges(wanted: Iterable[Source], scores: Sequence[Score]) -> Iterator[str]:
    for source in wanted:
        if source.judge == _ANY:
            yield from (
                s.judge for s in scores if s.judge and source.matches(s) and s.metric == source.metric
            )
