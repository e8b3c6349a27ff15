"""The run directory: what lies where, which stages are done, and who works in it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from lidr import __version__, holding
from lidr.config import RunConfig, differences, identity, identity_values, read_config, to_yaml
from lidr.errors import LidrError, StageError
from lidr.files import write_text
from lidr.hashing import sha256
from lidr.paths import resolve_model
from lidr.printable import short
from lidr.stages import Stage

MANIFEST = "stage.json"
STAGE_SCHEMA = 1


class OutputFile(BaseModel):
    """Size in bytes and SHA-256 of a file a stage wrote."""

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a finished stage says of itself; its presence marks the stage as done.

    config: the values that defined the stage, by dotted key. inputs: digests of what it read.
    outputs: files it wrote, by path below the run directory. seconds: wall clock of the last attempt.
    taken_from: the run that computed it, where it was copied from another one.
    """

    schema_version: int
    stage: str
    config: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, OutputFile]
    counts: dict[str, Any]
    code_version: str
    seconds: float
    taken_from: str | None = None

    def digest(self, below: str = "") -> str:
        """One hash over the stage's results, or those below a path: what a stage downstream records as its input."""
        lines = [f"{name} {f.sha256}" for name, f in sorted(self.outputs.items()) if name.startswith(below)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class RunStatus(BaseModel):
    """What `lidr status` reads. waits_for: the run that computes what this one needs too."""

    status: Literal["to do", "running", "done", "failed"]
    stage: str | None = None
    waits_for: str | None = None
    error: str | None = None
    pid: int | None = None
    updated: float = 0.0


class RunDirectory:
    """One run on disk, named by its configuration's identity."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, config: RunConfig) -> RunDirectory:
        """The run directory a configuration names; it need not exist yet."""
        label = f"{config.model.name}-{config.objective.name}-s{config.seed}-{identity(config)}"
        return cls(Path(config.paths.outputs) / config.name / label)

    def open(self, config: RunConfig) -> None:
        """Creates the directory, or checks that what lies there is the same run.

        Raises:
            LidrError: the directory holds a run of other values; names the keys that differ.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / "config.yaml"
        if path.exists():
            self._refuse_other(config, read_config(path))
        write_text(path, to_yaml(config))
        write_text(self.root / "name.txt", describe(config) + "\n")

    def _refuse_other(self, config: RunConfig, stored: RunConfig) -> None:
        changed = differences(identity_values(config), identity_values(stored))
        if changed:
            keys = ", ".join(f"{k}: {ours!r} here, {theirs!r} there" for k, (ours, theirs) in changed.items())
            raise LidrError(
                f"holds another run ({keys})", where=str(self.root), instead="move the folder away"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the directory for one process, as `lidr.holding.alone`."""
        with holding.alone(self.root):
            yield

    @property
    def ledger(self) -> Path:
        """What the run has used of engines that are paid for."""
        return self.root / "usage.jsonl"

    def iteration(self, number: int) -> Path:
        return self.root / f"iteration-{number}"

    def folder(self, stage: Stage) -> Path:
        """Where a stage keeps its manifest and files."""
        return self.root / stage.name

    def model(self, config: RunConfig, iteration: int) -> str:
        """The model M_t: the configured one for t = 0, else what training wrote."""
        return (
            resolve_model(config.model.path) if iteration == 0 else str(self.iteration(iteration) / "model")
        )

    def manifest(self, stage: Stage) -> Manifest | None:
        """The manifest of a finished stage, None where the stage is not done.

        Raises:
            StageError: the manifest is there but cannot be read.
        """
        path = self.folder(stage) / MANIFEST
        if not path.exists():
            return None
        try:
            manifest = Manifest.model_validate_json(path.read_bytes())
        except (ValidationError, OSError) as error:
            raise StageError(
                "not a readable manifest", where=str(path), instead=f"delete {path.parent}"
            ) from error
        if manifest.schema_version != STAGE_SCHEMA or manifest.stage != stage.name:
            raise StageError(
                f"is the manifest of {short(manifest.stage)!r} in schema {manifest.schema_version}",
                where=str(path),
                instead=f"delete {path.parent}",
            )
        return manifest

    def finish(
        self,
        stage: Stage,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
        outputs: Iterable[Path],
        counts: Mapping[str, Any],
        seconds: float,
    ) -> Manifest:
        """Marks a stage as done, by an atomic rename."""
        files = {
            str(p.relative_to(self.root)): OutputFile(bytes=p.stat().st_size, sha256=sha256(p))
            for p in sorted(outputs)
        }
        manifest = Manifest(
            schema_version=STAGE_SCHEMA,
            stage=stage.name,
            config=dict(config),
            inputs=dict(inputs),
            outputs=files,
            counts=dict(counts),
            code_version=__version__,
            seconds=round(seconds, 3),
        )
        text = manifest.model_dump_json(indent=2)
        write_text(self.folder(stage) / MANIFEST, text + "\n")
        return Manifest.model_validate_json(text)

    def check_outputs(self, manifest: Manifest) -> None:
        """Raises StageError where a file of a finished stage is gone or has another size."""
        for name, file in manifest.outputs.items():
            path = self.root / name
            if not path.is_file() or path.stat().st_size != file.bytes:
                found = (
                    f"has {path.stat().st_size} bytes, not {file.bytes}" if path.is_file() else "is missing"
                )
                raise StageError(
                    f"{name}, written by the finished stage {manifest.stage}, {found}",
                    where=str(self.root),
                    instead=f"put the file back, or delete {self.root / manifest.stage} and run again",
                )

    def status(self) -> RunStatus:
        path = self.root / "status.json"
        try:
            return RunStatus.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return RunStatus(
                status="running" if path.exists() else "failed",
                error=None if path.exists() else "never started",
            )

    def state(self) -> str:
        """to do, done, failed, running, or killed: marked as running, though no process holds the directory."""
        recorded = self.status().status
        return "killed" if recorded == "running" and not holding.is_held(self.root) else recorded

    def set_status(
        self,
        status: Literal["to do", "running", "done", "failed"],
        stage: str | None = None,
        error: str | None = None,
        waits_for: str | None = None,
    ) -> None:
        record = RunStatus(
            status=status,
            stage=stage,
            waits_for=waits_for,
            error=error,
            pid=os.getpid(),
            updated=time.time(),
        )
        write_text(self.root / "status.json", record.model_dump_json(indent=2) + "\n")


def describe(config: RunConfig) -> str:
    """A run in words, for name.txt and tables."""
    languages = " ".join(config.languages.trained)
    return (
        f"{config.name}: {config.model.name}, {languages}, {config.objective.describe()}, "
        f"lr {config.training.lr:g}, {config.prompts.limit} prompts "
        f"({config.prompt_schedule}), {config.iterations} iterations, seed {config.seed}"
    )


def find_runs(folder: Path) -> list[RunDirectory]:
    """Every run at or below a folder, sorted by path."""
    return [
        RunDirectory(p.parent)
        for p in sorted(folder.rglob("config.yaml"))
        if (p.parent / "status.json").exists()
    ]
