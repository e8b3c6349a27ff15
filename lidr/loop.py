"""The loop: M_t to M_{t+1}, stage after stage, T times."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lidr import jsonl, sharing
from lidr.children import crashed
from lidr.config import Processes, RunConfig, identity
from lidr.errors import FullDiskError, LidrError
from lidr.execute import done, ensure, tidy
from lidr.logs import logging_to
from lidr.preflight import preflight
from lidr.printable import inert
from lidr.processes import run_stage
from lidr.stages import Stage, StageKind, stages
from lidr.store import RunDirectory

if TYPE_CHECKING:
    from lidr.tracking import Tracker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """A finished run: where it lies, and how many of its stages were done before."""

    run: RunDirectory
    report: Path
    stages: int
    skipped: int


def run(config: RunConfig) -> RunResult:
    """Runs, or goes on with, the run a configuration names.

    Raises:
        LidrError: a stage failed; what is finished stays, and the same call goes on.
        ConfigError: what the run reads is missing or too little; nothing was started.
    """
    directory = RunDirectory.of(config)
    if directory.manifest(Stage(StageKind.PROMPTS, 1)) is None:
        preflight(config)
    with directory.locked():
        directory.open(config)
        with logging_to(directory.root / "log.txt"), _status(directory):
            return _run(config, directory)


def _run(config: RunConfig, directory: RunDirectory) -> RunResult:
    from lidr.report import build_report
    from lidr.tracking import Tracker

    log.info("run %s", directory.root)
    plan = stages(config)
    _check_finished(plan, directory)
    skipped = 0
    with Tracker(config, directory.root, identity(config)) as tracker:
        for place, stage in enumerate(plan, start=1):
            if done(stage, config, directory) is not None:
                skipped += 1
                tidy(stage, directory)
                log.info("%s: done before (%d of %d)", stage.name, place, len(plan))
            else:
                directory.set_status("running", stage.name)
                _execute(stage, config, directory, tracker)
            _collect(stage, config, directory, tracker)
    directory.set_status("running", "report")
    report = build_report([directory.root], directory.root / "report")
    return RunResult(directory, report.markdown, len(plan), skipped)


def _check_finished(plan: list[Stage], directory: RunDirectory) -> None:
    """Looks at all files of finished stages before any is read; each is hashed once in this process."""
    for stage in plan:
        manifest = directory.manifest(stage)
        if manifest is not None:
            directory.check_outputs(manifest)


def _execute(stage: Stage, config: RunConfig, directory: RunDirectory, tracker: Tracker) -> None:
    """Takes a stage from another run that has it, else computes it, alone among the runs that need the same."""

    def wait(owner: str) -> None:
        directory.set_status("running", stage.name, waits_for=owner)

    with sharing.once(stage, config, directory, wait) as taken:
        if not taken:
            directory.set_status("running", stage.name)  # and no longer waiting
            _compute(stage, config, directory, tracker)


def _compute(stage: Stage, config: RunConfig, directory: RunDirectory, tracker: Tracker) -> None:
    if config.processes is Processes.INLINE or not stage.kind.loads_model:
        ensure(stage, config, directory)
        return
    is_training = stage.kind is StageKind.TRAINING
    run_stage(stage, directory, config.trainer, lambda: tracker.mirror(stage) if is_training else None)
    if done(stage, config, directory) is None:
        raise LidrError(
            f"the process of {stage.name} left no manifest", where=str(directory.root / "log.txt")
        )


def _collect(stage: Stage, config: RunConfig, directory: RunDirectory, tracker: Tracker) -> None:
    """Carries a finished stage's numbers into the run's own files, then mirrors them."""
    from lidr.evaluation.results import collect_scores, write_results

    if stage.kind is StageKind.TRAINING:
        _concatenate_metrics(config, directory)
    elif stage.kind is StageKind.EVALUATION:
        write_results(directory.root / "results.json", collect_scores(directory.root), config)
    tracker.mirror(stage)


def _concatenate_metrics(config: RunConfig, directory: RunDirectory) -> None:
    paths = [directory.folder(s) / "metrics.jsonl" for s in stages(config) if s.kind is StageKind.TRAINING]
    records = (record for path in paths if path.exists() for record in jsonl.read(path))
    jsonl.write(directory.root / "metrics.jsonl", records)


@contextmanager
def _status(directory: RunDirectory) -> Iterator[None]:
    """Keeps status.json true however the run ends; one that is stopped, as by Ctrl-C, stays as a kill leaves it.

    Raises:
        StageError: in place of an exception that is no `LidrError`, whose traceback is in the log then.
    """
    directory.set_status("running")
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stopped:
        log.warning("stopped (%s): the same command goes on", type(stopped).__name__, exc_info=stopped)
        raise
    except BaseException as error:
        if not isinstance(error, LidrError):
            log.exception("the run failed")
        else:
            log.error("%s", error)
        stage = directory.status().stage
        text = inert(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        with suppress(FullDiskError, OSError):
            directory.set_status("failed", stage, text)
        if isinstance(error, Exception) and not isinstance(error, LidrError):
            raise crashed(stage or "the run", error, directory.root / "log.txt") from error
        raise
    directory.set_status("done")
