"""Stages that several runs need: one run computes each, the others copy its files.

Two stages are the same if their configuration values, the bytes they read and the code that computes them are. That is
their key. In ``<outputs>/.stages`` a key has a lock, which its one computing run holds, and an entry, which names the
runs that have finished it. Nothing else lies there: what is copied comes from the runs themselves, so each of them is
whole and can be deleted alone.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from lidr.config import RunConfig
from lidr.config.identity import digest
from lidr.errors import LidrError
from lidr.evaluation.run import Prompts, benchmark_prompts
from lidr.execute import PASSING, inputs
from lidr.files import whole_folder, write_text, writing
from lidr.hashing import fingerprint, sha256
from lidr.records import to_json
from lidr.stages import Stage, StageKind
from lidr.store import MANIFEST, STAGE_SCHEMA, Manifest, RunDirectory

log = logging.getLogger(__name__)
FOLDER = ".stages"
_POLL_SECONDS = 0.5
_PACKAGES = ("torch", "transformers", "tokenizers", "peft", "pytorch-lightning", "vllm", "lm_eval")
_LINKED = ".safetensors"  # written once and never changed in place; all else is copied


class _Entry(BaseModel):
    """runs: those that have the stage, by path below the outputs folder. computing: the last that set out to."""

    runs: tuple[str, ...] = ()
    computing: str | None = None


class _UnfitError(Exception):
    """What an entry names is not, or no longer, what the key promises."""


@contextmanager
def once(stage: Stage, config: RunConfig, run: RunDirectory, wait: Callable[[str], None]) -> Iterator[bool]:
    """Yields whether a stage was taken from another run; if not, the block computes it.

    Runs that need the same stage wait meanwhile: for what the block makes of it, or to compute it themselves where it
    fails or its process dies.

    Args:
        stage: one whose inputs are done.
        config: of the run.
        run: where the stage belongs.
        wait: called with the run that is being waited for, before the wait.

    Raises:
        FullDiskError: there is no room for the copy.
    """
    if not config.paths.share or stage.kind is StageKind.PROMPTS:  # prompts are read, which takes no time
        yield False
        return
    place = _Place(Path(config.paths.outputs), key(stage, config, run))
    with place.locked(stage, wait):
        _clear(stage, run)
        if place.take(stage, config, run):
            yield True
        else:
            place.note(run, finished=False)
            yield False
        place.note(run, finished=True)


def is_offered(stage: Stage, config: RunConfig, run: RunDirectory) -> bool:
    """Whether other runs would take a finished stage from this one: not if other code computed it, or unshared."""
    if not config.paths.share or stage.kind is StageKind.PROMPTS:
        return False
    outputs = Path(config.paths.outputs)
    return os.path.relpath(run.root, outputs) in _Place(outputs, key(stage, config, run)).read().runs


def key(stage: Stage, config: RunConfig, run: RunDirectory) -> str:
    """What names a stage's result before it is computed, the same in every run."""
    return digest(
        {
            "schema": STAGE_SCHEMA,
            "stage": stage.name,
            "config": stage.config_values(config),
            "inputs": inputs(stage, config, run),
            "beside": _read_beside(stage, config, run),
            "code": _code(),
        }
    )


def _read_beside(stage: Stage, config: RunConfig, run: RunDirectory) -> dict[str, str]:
    """Digests of what an evaluation reads beside its model: benchmarks, and the pairs behind its model."""
    if stage.kind is not StageKind.EVALUATION:
        return {}
    asked = config.asked_benchmarks
    found = benchmarks_read(
        config, lambda name: benchmark_prompts(asked[name], config.languages, config.seed)
    )
    for other in read_beside(stage):
        manifest = run.manifest(other)
        if manifest is not None:
            found[other.kind.value] = manifest.digest()
    return found


def read_beside(stage: Stage) -> tuple[Stage, ...]:
    """Stages that an evaluation reads beside its model, where they are there; none of others."""
    kinds = (StageKind.PROMPTS, StageKind.PAIRS) if stage.kind is StageKind.EVALUATION else ()
    return tuple(Stage(kind, stage.iteration) for kind in kinds)


def benchmarks_read(config: RunConfig, prompts_of: Callable[[str], Prompts]) -> dict[str, str]:
    """Digests of the benchmarks' prompts, and of the folders of lm-eval's own tasks, by benchmark.

    Args:
        config: of the run.
        prompts_of: reads the prompts of a benchmark, which is named, by language.
    """
    found = {}
    for name in config.asked_benchmarks:
        found[name] = digest({code: [to_json(p) for p in own] for code, own in prompts_of(name).items()})
    for name, tasks in config.lm_eval_benchmarks.items():
        own_tasks = Path(tasks.include_path) if tasks.include_path else None
        found[name] = fingerprint(own_tasks) if own_tasks and own_tasks.is_dir() else ""
    return found


@cache
def _code() -> str:
    """What names the code: this package's sources, and the versions of those that compute."""
    package = Path(__file__).parent
    hashed = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        hashed.update(f"{path.relative_to(package)} {sha256(path)}\n".encode())
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            hashed.update(f"{name} {version(name)}\n".encode())
    return hashed.hexdigest()


class _Place:
    """The lock and the entry of a key."""

    def __init__(self, outputs: Path, name: str) -> None:
        self.outputs = outputs
        self._entry = outputs / FOLDER / f"{name}.json"
        self._lock = outputs / FOLDER / f"{name}.lock"

    @contextmanager
    def locked(self, stage: Stage, wait: Callable[[str], None]) -> Iterator[None]:
        """Holds the key; the operating system lets go of it when its holder dies."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            owner = self.read().computing or "another run"
            log.info("%s: waits for %s, which computes it", stage.name, owner)
            wait(owner)
            lock.acquire(poll_interval=_POLL_SECONDS)
        try:
            yield
        finally:
            lock.release()

    def read(self) -> _Entry:
        """An entry that is not there, or not readable, names nothing."""
        try:
            return _Entry.model_validate_json(self._entry.read_bytes())
        except (OSError, ValidationError):
            return _Entry()

    def note(self, run: RunDirectory, finished: bool) -> None:
        """Writes down that a run computes the stage, or has it; call it with the key held."""
        name, entry = os.path.relpath(run.root, self.outputs), self.read()
        runs = tuple(dict.fromkeys((*entry.runs, name))) if finished else entry.runs
        write_text(self._entry, _Entry(runs=runs, computing=name).model_dump_json() + "\n")

    def take(self, stage: Stage, config: RunConfig, run: RunDirectory) -> bool:
        """Copies the stage from the first run that still has it whole; False where none has."""
        for name in self.read().runs:
            source = RunDirectory(self.outputs / name)
            if ".." in PurePath(name).parts or source.root == run.root:
                continue
            try:
                _copy_stage(source, name, stage, config, run)
            except (_UnfitError, OSError) as reason:
                log.warning("%s: is not taken from %s: %s", stage.name, source.root, reason)
            else:
                log.info("%s: taken from %s", stage.name, source.root)
                return True
        return False


def _folders(stage: Stage, run: RunDirectory) -> list[Path]:
    """What a stage fills; its own folder, with the manifest, comes last."""
    weights = [run.iteration(stage.iteration) / "model"] if stage.kind is StageKind.TRAINING else []
    return [*weights, run.folder(stage)]


def _clear(stage: Stage, run: RunDirectory) -> None:
    """Removes what a copy left that was cut off."""
    for folder in _folders(stage, run):
        for leftover in (folder.with_name(f"{folder.name}.tmp"), folder.with_name(f"{folder.name}.old")):
            shutil.rmtree(leftover, ignore_errors=True)


def _copy_stage(source: RunDirectory, name: str, stage: Stage, config: RunConfig, run: RunDirectory) -> None:
    """Copies a finished stage; the run has all of it or what it had before."""
    manifest = _manifest(source, stage)
    if manifest.config != stage.config_values(config) or manifest.inputs != inputs(stage, config, run):
        raise _UnfitError("it was finished anew, from other values or files")
    with ExitStack() as places:
        for folder in reversed(_folders(stage, run)):  # the last to be entered is the first to take its place
            copy = places.enter_context(whole_folder(folder))
            _copy(source, source.root / folder.relative_to(run.root), copy, manifest)
            if folder == run.folder(stage):
                _write_manifest(copy, manifest, name)


def _manifest(source: RunDirectory, stage: Stage) -> Manifest:
    try:
        manifest = source.manifest(stage)
    except LidrError as error:
        raise _UnfitError(str(error)) from error
    if manifest is None:
        raise _UnfitError("it is no longer there")
    return manifest


def _write_manifest(folder: Path, manifest: Manifest, name: str) -> None:
    taken = manifest.model_copy(update={"taken_from": manifest.taken_from or name})
    write_text(folder / MANIFEST, taken.text())


def _copy(source: RunDirectory, origin: Path, target: Path, manifest: Manifest) -> None:
    """Copies a folder's files, and compares those that its manifest names by their hash."""
    below = origin.relative_to(source.root)
    wanted = {name for name in manifest.outputs if PurePath(name).is_relative_to(below)}
    for path in _files(origin):
        copied = target / path.relative_to(origin)
        copied.parent.mkdir(parents=True, exist_ok=True)
        with writing(copied):
            _link_or_copy(path, copied)
        name = str(path.relative_to(source.root))
        if name in wanted and sha256(copied) != manifest.outputs[name].sha256:
            raise _UnfitError(f"{name} was changed there")
        wanted.discard(name)
    if wanted:
        raise _UnfitError(f"{min(wanted)} is gone there")


def _files(folder: Path) -> Sequence[Path]:
    found = sorted(p for p in folder.rglob("*") if p.name != MANIFEST and p.suffix not in PASSING)
    links = [p for p in found if p.is_symlink()]
    if links:
        raise _UnfitError(f"{links[0].name} is a link there")
    return [p for p in found if p.is_file()]


def _link_or_copy(path: Path, copied: Path) -> None:
    if path.suffix == _LINKED:
        with suppress(OSError):  # another file system, or one without hard links
            os.link(path, copied)
            return
    shutil.copyfile(path, copied)
