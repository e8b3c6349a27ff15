"""Reads what W&B wrote to a ``run-<id>.wandb`` file: a LevelDB log of protocol buffers.

wandb 0.31 has no reader of its own in Python any more; the messages are its own.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from wandb.proto import wandb_internal_pb2

_FILE_HEADER, _BLOCK = 7, 32768
_WHOLE, _LAST = 1, 4


@dataclass
class StoredRun:
    """A run as W&B stored it."""

    id: str = ""
    group: str = ""
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

    def table(self, key: str) -> dict[str, Any]:
        """The last table logged under a key: its columns and data."""
        path = self.column(f"{key}.path")[-1]
        content: dict[str, Any] = json.loads((self.folder / "files" / path).read_text(encoding="utf-8"))
        return content


def stored_runs(run_dir: Path, seconds: float = 20.0) -> list[StoredRun]:
    """Every finished attempt W&B stored below a run directory, in order of their history.

    W&B's service writes the file a moment after `finish` returns.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = [_read(path) for path in (run_dir / "wandb").glob("offline-run-*/run-*.wandb")]
        if all(run.exit_code is not None for run in found):
            return sorted(found, key=lambda run: run.steps)
        assert time.monotonic() < deadline, "W&B did not write the end of the run"
        time.sleep(0.05)


def _read(path: Path) -> StoredRun:
    run = StoredRun(folder=path.parent)
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
        try:
            record.ParseFromString(data)
        except DecodeError:  # half written
            break
        _take(run, record)
    return run


def _take(run: StoredRun, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run.id, run.group, run.tags = record.run.run_id, record.run.run_group, list(record.run.tags)
        run.config |= {_key(item): json.loads(item.value_json) for item in record.run.config.update}
    elif kind == "history":
        run.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        run.steps.append(record.history.step.num)
    elif kind == "metric" and record.metric.step_metric:
        run.axes[record.metric.glob_name or record.metric.name] = record.metric.step_metric
    elif kind == "summary":
        run.summary |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
    elif kind == "exit":
        run.exit_code = record.exit.exit_code


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _records(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    position, record = _FILE_HEADER, b""
    while position + 7 <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (_WHOLE, _LAST):
            yield record
            record = b""
