"""The run directory: what lies where, which stages are done, and who works in it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lidr import __version__, holding
from lidr.config import RunConfig, differences, identity, identity_values, read_config, to_yaml
from lidr.errors import ConfigError, LidrError, StageError
from lidr.files import write_text
from lidr.hashing import sha256
from lidr.paths import resolve_model
from lidr.printable import short
from lidr.stages import Stage

MANIFEST = "stage.json"
STAGE_SCHEMA = 1
_LISTED = 3


class OutputFile(BaseModel):
    """Size in bytes and SHA-256 of a file a stage wrote."""

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a finished stage says of itself; its presence marks the stage as done.

    config: the values that defined the stage, by dotted key. inputs: digests of what it read.
    outputs: files it wrote, by path below the run directory. seconds: wall clock of the last attempt.
    taken_from: the run that computed it, where it was copied from another one.
    check: SHA-256 of all the rest, None in those of earlier versions.
    """

    model_config = ConfigDict(extra="forbid")
    schema_version: int
    stage: str
    config: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, OutputFile]
    counts: dict[str, Any]
    code_version: str
    seconds: float
    taken_from: str | None = None
    check: str | None = None

    def text(self) -> str:
        """What is written to disk: with the check sum over all the rest."""
        stored = Manifest.model_validate_json(self.model_dump_json())  # as a reader has it
        stored.check = stored.own_digest()
        return stored.model_dump_json(indent=2) + "\n"

    def own_digest(self) -> str:
        """What `check` has to be."""
        return hashlib.sha256(self.model_dump_json(exclude={"check"}).encode()).hexdigest()

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
            LidrError: the directory holds a run of other values, whose keys are named, or a damaged config.yaml.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / "config.yaml"
        if path.exists():
            self._refuse_other(config, path)
        write_text(path, to_yaml(config))
        write_text(self.root / "name.txt", describe(config) + "\n")

    def _refuse_other(self, config: RunConfig, path: Path) -> None:
        """A damaged file may be deleted: stages that were finished with other values are refused by themselves."""
        anew = f"delete {path} and run the same command again: it is written anew"
        try:
            stored = read_config(path)
        except ConfigError as error:
            first = error.problems[0]
            raise LidrError(first.what, where=first.where, instead=anew) from error
        except LidrError as error:
            raise LidrError(error.what, where=str(path), instead=anew) from error
        changed = differences(identity_values(config), identity_values(stored))
        if changed:
            keys = ", ".join(f"{k}: {ours!r} here, {theirs!r} there" for k, (ours, theirs) in changed.items())
            raise LidrError(
                f"is of another run ({keys})",
                where=str(path),
                instead=f"move the folder away; if the file was damaged, {anew}",
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
            raise StageError("not a readable manifest", where=str(path), instead=_delete([path])) from error
        if manifest.check is not None and manifest.check != manifest.own_digest():
            raise StageError(
                "is not what the stage wrote (another check sum)", where=str(path), instead=_delete([path])
            )
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
        text = manifest.text()
        write_text(self.folder(stage) / MANIFEST, text)
        return Manifest.model_validate_json(text)

    def check_outputs(self, manifest: Manifest) -> None:
        """Compares the files of a finished stage with what it wrote, by size, then by hash.

        Raises:
            StageError: some are gone, or others now; names them and what to delete for the stage to make them anew.
        """
        damage = {name: self._damage(name, file) for name, file in manifest.outputs.items()}
        damaged = [name for name, found in damage.items() if found]
        if not damaged:
            return
        first, *others = damaged
        more = f"; nor as they were: {', '.join(others[:_LISTED])}" if others else ""
        more += f" and {len(others) - _LISTED} more" if len(others) > _LISTED else ""
        own = [self.root / name for name in damaged if (self.root / name).exists()]
        stage = self.root / manifest.stage
        unwanted = [*own, stage / MANIFEST] if len(damaged) <= _LISTED else [stage]
        raise StageError(
            f"{first}, written by the finished stage {manifest.stage}, {damage[first]}{more}",
            where=str(self.root),
            instead=f"put {'it' if not others else 'them'} back, or {_delete(unwanted)}",
        )

    def _damage(self, name: str, file: OutputFile) -> str | None:
        path = self.root / name
        if not path.is_file():
            return "is missing"
        if (size := path.stat().st_size) != file.bytes:
            return f"has {size} bytes, not {file.bytes}"
        return None if sha256(path) == file.sha256 else "has other bytes than it wrote (another SHA-256)"

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


def _delete(paths: Iterable[Path]) -> str:
    """What to type about files of a stage that are not what it wrote; what it still has stays."""
    return f"delete {' and '.join(map(str, paths))} and run the same command again: only that is made anew"


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
