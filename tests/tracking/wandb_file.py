"""What W&B wrote to its ``run-<id>.wandb`` files, as a test reads it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lidr.tracking.stored import key_of, records


@dataclass
class StoredRun:
    """A run as W&B stored it."""

    id: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    axes: dict[str, str] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    folder: Path = Path()

    def column(self, key: str) -> list[Any]:
        """A metric's values in the order of the history."""
        return [row[key] for row in self.history if key in row]

    @property
    def keys(self) -> set[str]:
        """What the history holds; a table counts as one key."""
        found = {key for row in self.history for key in row if not key.startswith("_")}
        tables = {key.removesuffix("._type") for key in found if key.endswith("._type")}
        return {key for key in found if not key.startswith(tuple(f"{t}." for t in tables))} | tables

    def table(self, key: str) -> dict[str, Any]:
        """The last table logged under a key: its columns and data."""
        path = self.column(f"{key}.path")[-1]
        content: dict[str, Any] = json.loads((self.folder / "files" / path).read_text(encoding="utf-8"))
        return content


def stored_runs(run_dir: Path, seconds: float = 20.0, finished: int | None = None) -> list[StoredRun]:
    """Every attempt W&B stored below a run directory, in order of their history.

    W&B's service writes the file a moment after `finish` returns.

    Args:
        run_dir: the run's.
        seconds: how long to wait for their ends.
        finished: how many have one; all where it is None.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = [_read(path) for path in (run_dir / "wandb").glob("offline-run-*/run-*.wandb")]
        if sum(run.exit_code is not None for run in found) >= (len(found) if finished is None else finished):
            return sorted(found, key=lambda run: run.steps)
        assert time.monotonic() < deadline, "W&B did not write the end of the run"
        time.sleep(0.05)


def _read(path: Path) -> StoredRun:
    run = StoredRun(folder=path.parent)
    for record in records(path):
        _take(run, record)
    return run


def _take(run: StoredRun, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run.id, run.group, run.tags = record.run.run_id, record.run.run_group, list(record.run.tags)
        run.job_type = record.run.job_type
        run.config |= {key_of(item): json.loads(item.value_json) for item in record.run.config.update}
    elif kind == "history":
        run.history.append({key_of(item): json.loads(item.value_json) for item in record.history.item})
        run.steps.append(record.history.step.num)
    elif kind == "metric" and record.metric.step_metric:
        run.axes[record.metric.glob_name or record.metric.name] = record.metric.step_metric
    elif kind == "summary":
        run.summary |= {key_of(item): json.loads(item.value_json) for item in record.summary.update}
    elif kind == "exit":
        run.exit_code = record.exit.exit_code
