"""What may not be lost: what is finished stays and is not done again, and all ends in the same bytes."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.tracking import wandb_file

# Times, what is measured, and which run was first (.stages): named here, and nothing else is left out.
_TIMES = {"seconds", "reference_seconds", "updated", "pid"}
_LOGS = re.compile(
    r"(^|/)(log(-.*)?\.txt|timing\.jsonl|\.[a-z0-9.-]*lock|.*\.sqlite-(wal|shm))$|(^|/)\.stages/"
)
_WANDB = re.compile(r"(^|/)wandb/")  # compared by `mirrored`
_MEASURED = {"choices.json": {"reasons"}, "stage.json": {"check", "taken_from"}}  # free memory; who was first
_RUNTIME = {"config.yaml": re.compile(rb"(?m)^ *(processes|outputs): .*\n")}
_CLOCK = re.compile(r"^_(runtime|timestamp|wandb|step)$|tokens_per_second$|artifact_path$")
_RECORDS = re.compile(r"(responses|translations|evaluation|judging)/(?!.*outcomes).*\.jsonl$")

Content = dict[str, object]


def content(root: Path) -> Content:
    """Every file below a folder by name, but logs, locks and times."""
    files: Content = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        if not _LOGS.search(name) and not _WANDB.search(name):
            files[name] = _of_file(path)
    return files


def _of_file(path: Path) -> object:
    if path.suffix == ".sqlite":
        with sqlite3.connect(path) as connection:
            return sorted(connection.execute("select * from replies"))
    if path.suffix == ".json":
        return _without(json.loads(path.read_bytes()), _TIMES | _MEASURED.get(path.name, set()))
    data = path.read_bytes()
    return _RUNTIME[path.name].sub(b"", data) if path.name in _RUNTIME else data


def _without(value: object, keys: set[str]) -> object:
    if isinstance(value, dict):
        return {k: _without(v, keys) for k, v in value.items() if k not in keys}
    return [_without(v, keys) for v in value] if isinstance(value, list) else value


def differences(whole: Content, found: Content) -> Iterator[str]:
    """Files of a loop that are not as those of one that nobody killed."""
    for name in sorted(whole.keys() | found.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in whole:
            yield f"{name} is left over"
        elif whole[name] != found[name]:
            yield f"{name} differs"


@dataclass
class Mirrored:
    """What W&B's files of all attempts hold: rows without their tables, each with its steps, and every last table."""

    rows: dict[str, set[int]] = field(default_factory=dict)
    tables: dict[str, tuple[int, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Path) -> Mirrored:
        """A run's."""
        found = cls()
        for path in sorted((run / "wandb").glob("offline-run-*/run-*.wandb")):
            if path.stat().st_size:
                attempt = wandb_file._read(path)
                for step, row in zip(attempt.steps, attempt.history, strict=True):
                    found._take(step, row)
        return found

    def _take(self, step: int, row: dict[str, Any]) -> None:
        tables = {key.removesuffix("._type") for key, value in row.items() if value == "table-file"}
        for name in tables:
            self.tables[name] = max(self.tables.get(name, (0, "")), (step, row[f"{name}.sha256"]))
        values = {
            key: value
            for key, value in sorted(row.items())
            if not _CLOCK.search(key) and key.rpartition(".")[0] not in tables
        }
        if values:
            self.rows.setdefault(json.dumps(values), set()).add(step)

    def lost(self, later: Mirrored) -> Iterator[str]:
        """What a killed loop's mirror lacks, holds twice, or holds beside what one has that nobody killed.

        A table shows what is there when it is logged, so that only the last one under each key is compared.
        """
        if gone := self.rows.keys() - later.rows.keys():
            yield f"W&B: {len(gone)} of {len(self.rows)} rows are missing, such as {min(gone)[:200]}"
        if new := later.rows.keys() - self.rows.keys():
            yield f"W&B: {len(new)} rows too many, such as {min(new)[:200]}"
        if twice := [row for row, steps in later.rows.items() if len(steps) > 1]:
            yield f"W&B: {len(twice)} rows are there twice, such as {min(twice)[:200]}"
        for name, (_, digest) in self.tables.items():
            if later.tables.get(name, (0, ""))[1] != digest:
                yield f"W&B: the table {name} is another one"


@dataclass
class Standing:
    """What is finished while nobody works."""

    manifests: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    records: dict[str, set[bytes]] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    timed: dict[str, list[int]] = field(default_factory=dict)
    references: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> Standing:
        """Below a folder of runs."""
        found = cls()
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.name == "stage.json":
                found.manifests[name] = (path.stat().st_mtime_ns, path.read_bytes())
            elif path.name == "reference.safetensors":
                found.references[name] = path.stat().st_mtime_ns
            elif name.endswith("training/metrics.jsonl"):
                found.steps[name] = path.read_bytes().count(b"\n")
            elif name.endswith("training/timing.jsonl"):
                lines = path.read_bytes().split(b"\n")[:-1]
                found.timed[name] = [int(json.loads(line)["step"]) for line in lines]
            elif _RECORDS.search(name):
                lines = path.read_bytes().split(b"\n")[:-1]
                stage = re.sub(r"/shards/.*|/[^/]*$", "", name)
                found.records.setdefault(stage, set()).update(lines)
        return found

    def lost(self, later: Standing, checkpoint_steps: int) -> Iterator[str]:
        """What stood here and does not stand after the next attempt, or was done again by it."""
        for name, manifest in self.manifests.items():
            if later.manifests.get(name) != manifest:
                yield f"{name}: a finished stage {'was done again' if name in later.manifests else 'is gone'}"
        for name, lines in self.records.items():
            gone = lines - later.records.get(name, set())
            if gone:
                yield f"{name}: {len(gone)} of {len(lines)} finished records are gone"
        for name, changed in self.references.items():
            if later.references.get(name) != changed:
                yield f"{name}: was computed again"
        for name, logged in self.steps.items():
            yield from self._steps_lost(name, logged, later, checkpoint_steps)

    def _steps_lost(self, name: str, logged: int, later: Standing, every: int) -> Iterator[str]:
        """Steps since the last checkpoint may be done again, and no others."""
        timing = name.replace("metrics.jsonl", "timing.jsonl")
        new = later.timed.get(timing, [])[len(self.timed.get(timing, [])) :]
        first = max(0, logged - (logged % every or every)) + 1
        if new and new[0] < first:
            yield f"{name}: {logged} steps were done, and training went on from step {new[0]}"
        if new and name.replace("metrics.jsonl", "stage.json") in self.manifests:
            yield f"{name}: a finished training was done again"
