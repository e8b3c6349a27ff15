"""How far runs are, as their folders say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lidr import jsonl
from lidr.config import RunConfig, read_config
from lidr.config.labels import run_labels
from lidr.errors import LidrError
from lidr.stages import Stage, StageKind, parse_stage, stages
from lidr.store import MANIFEST, RunDirectory
from lidr.synthesis.read import draws, routes_for, samples


@dataclass(frozen=True)
class Row:
    """One run.

    label: what tells it from the others. finished, stages: how many stages are done, and how many there are.
    now: the stage it is at, and how far. age: since something was written. note: an error, or what it waits for.
    """

    root: str
    label: str
    state: str
    finished: int
    stages: int
    now: str
    age: str
    note: str


def overview(runs: Sequence[RunDirectory], now: float) -> list[Row]:
    """A row a run, in the order of what tells them apart.

    Args:
        runs: those to look at.
        now: seconds since the epoch.

    Raises:
        LidrError: a run's config.yaml is not readable.
    """
    configs = [read_config(run.root / "config.yaml") for run in runs]
    labels = run_labels(configs) if len(runs) > 1 else [""]
    rows = [_row(*each, now) for each in zip(runs, configs, labels, strict=True)]
    return sorted(rows, key=lambda row: (row.label, row.root))


def _row(run: RunDirectory, config: RunConfig, label: str, now: float) -> Row:
    state, record, plan = run.state(), run.status(), stages(config)
    stage = parse_stage(record.stage) if record.stage and state != "done" else None
    waits = f"waits for {record.waits_for}" if record.waits_for and state == "running" else ""
    return Row(
        root=str(run.root),
        label=label,
        state=state,
        finished=sum((run.folder(each) / MANIFEST).exists() for each in plan),
        stages=len(plan),
        now="" if stage is None else _now(stage, config, run, counted=not waits),
        age="" if state == "to do" else age(now - _written(run, stage)),
        note=record.error or waits,
    )


def _now(stage: Stage, config: RunConfig, run: RunDirectory, counted: bool) -> str:
    total = _total(stage, config, run) if counted else None
    if not total:
        return stage.name
    return f"{stage.name} {min(_there(stage, config, run), total)}/{total}"


def _total(stage: Stage, config: RunConfig, run: RunDirectory) -> int | None:
    """Records that a stage will have at most, or optimizer steps; None where that is not known."""
    trained, ways = len(config.languages.trained), len(routes_for(config.languages, config.pairs))
    if stage.kind is StageKind.RESPONSES:
        return trained * _count(run, stage, StageKind.PROMPTS, "prompts")
    if stage.kind is StageKind.TRANSLATIONS:
        return ways * _count(run, stage, StageKind.PROMPTS, "prompts")
    if stage.kind in (StageKind.SAMPLES, StageKind.SCORES):
        files = (draws if stage.kind is StageKind.SAMPLES else samples)(config.languages, config.pairs)
        return len(files) * _count(run, stage, StageKind.PROMPTS, "prompts")
    if stage.kind is StageKind.TRAINING:
        pairs = config.training.epochs * _count(run, stage, StageKind.PAIRS, "kept")
        return math.ceil(pairs / config.training.global_batch)
    if stage.kind is StageKind.EVALUATION:
        return sum(b.prompts.limit * len(b.codes(config.languages)) for b in config.asked_benchmarks.values())
    return None


def _count(run: RunDirectory, stage: Stage, kind: StageKind, name: str) -> int:
    try:
        manifest = run.manifest(Stage(kind, stage.iteration))
    except LidrError:
        return 0
    return 0 if manifest is None else int(manifest.counts.get(name, 0))


def _there(stage: Stage, config: RunConfig, run: RunDirectory) -> int:
    return sum(jsonl.whole_lines(path) for path in _record_files(stage, config, run))


def _record_files(stage: Stage, config: RunConfig, run: RunDirectory) -> Iterable[Path]:
    """A stage's files of records, those of processes that share it too."""
    folder = run.folder(stage)
    if stage.kind is StageKind.TRAINING:
        return [folder / "metrics.jsonl"]
    if stage.kind is StageKind.EVALUATION:
        names = {f"{code}.jsonl" for code in config.languages.all}
        return [p for p in folder.rglob("*.jsonl") if p.name in names]
    return folder.rglob("*.jsonl")


def _written(run: RunDirectory, stage: Stage | None) -> float:
    """When something of a run was last written, in seconds since the epoch."""
    places = (
        [run.root / "status.json"] if stage is None else [run.root / "log.txt", *_below(run.folder(stage))]
    )
    times = [path.stat().st_mtime for path in places if path.exists()]
    return max([run.status().updated, *times])


def _below(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def age(seconds: float) -> str:
    """A time that has passed, in its largest unit: ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(max(0, seconds))} s"
