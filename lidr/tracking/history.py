"""A run's history as rows with fixed numbers, so that what W&B holds already can be told by counting.

The rows stand in the order of the stages: one for each evaluation, one for each iteration's pairs, one for each
optimizer step. Their numbers follow from the run's files alone, whenever and however often they are mirrored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lidr.config import RunConfig
from lidr.evaluation.results import SCORES
from lidr.stages import Stage, StageKind, stages
from lidr.store import MANIFEST

RATE = "tokens_per_second"
METRICS, AUDIT = "metrics.jsonl", "audit.json"
_ONE_ROW = {StageKind.PAIRS: AUDIT, StageKind.EVALUATION: SCORES}


class History:
    """The numbers of a run's rows.

    Args:
        config: the run's.
        root: its directory.
    """

    def __init__(self, config: RunConfig, root: Path) -> None:
        self._plan, self._root = stages(config), root
        self._lengths: dict[tuple[Path, int, int], int] = {}

    @property
    def plan(self) -> list[Stage]:
        return self._plan

    @property
    def is_whole(self) -> bool:
        """Whether every stage is done."""
        return all((self._root / stage.name / MANIFEST).exists() for stage in self._plan[-1:])

    @property
    def length(self) -> int:
        """Rows of all stages."""
        return sum(map(self._rows, self._plan))

    def first_row(self, stage: Stage) -> int:
        """The number of a stage's first row; the stages before it are done."""
        return sum(map(self._rows, self._plan[: self._plan.index(stage)]))

    def steps_before(self, iteration: int) -> int:
        """Optimizer steps of the iterations before one."""
        earlier = (Stage(StageKind.TRAINING, t) for t in range(1, iteration))
        return sum(map(self._rows, earlier))

    def _rows(self, stage: Stage) -> int:
        if stage.kind is StageKind.TRAINING:
            return self._steps(self._root / stage.name / METRICS)
        name = _ONE_ROW.get(stage.kind)
        return int(name is not None and (self._root / stage.name / name).exists())

    def _steps(self, path: Path) -> int:
        """The last optimizer step of a training; the file is read again where it has changed."""
        try:
            found = path.stat()
        except OSError:
            return 0
        state = (path, found.st_mtime_ns, found.st_size)
        if state not in self._lengths:
            self._lengths[state] = max((step for step, _ in training_steps(path)), default=0)
        return self._lengths[state]


def training_steps(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each optimizer step's number and record, with its tokens per second; a step written twice comes twice."""
    rates = {
        record.get("step"): record.get(RATE) for record in _whole_records(path.with_name("timing.jsonl"))
    }
    for record in _whole_records(path):
        step = record.get("step")
        if isinstance(step, int):
            yield step, record | {f"train/{RATE}": rates.get(step)}


def _whole_records(path: Path) -> Iterator[dict[str, Any]]:
    """The records on lines that end; the trainer may be writing the last one."""
    try:
        data = path.read_bytes()
    except OSError:
        return
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record
