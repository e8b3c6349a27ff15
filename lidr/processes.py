"""A stage in a process of its own: its memory comes back by exit, and its crash is a stage's failure."""

from __future__ import annotations

import argparse
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from lidr.children import (
    CRASHED,
    FULL_DISK,
    INTERRUPTED,
    POLL_SECONDS,
    REFUSED,
    crashed,
    die_with_parent,
    ended,
)
from lidr.config import TrainerConfig, read_config
from lidr.errors import FullDiskError, LidrError, StageError
from lidr.execute import ensure, join
from lidr.files import unusable, write_text
from lidr.holding import in_turn
from lidr.launch import command, error_file, error_files, log_file
from lidr.logs import logging_to
from lidr.shards import Shards
from lidr.stages import Stage, StageKind, parse_stage
from lidr.store import RunDirectory
from lidr.synthesis.index import Share
from lidr.work import Job, answer_share

log = logging.getLogger(__name__)


def run_stage(stage: Stage, run: RunDirectory, trainer: TrainerConfig, meanwhile: Callable[[], None]) -> None:
    """Starts a stage as ``python -m lidr.processes RUN STAGE``, once or on each device, and waits for it.

    Args:
        stage: what to run.
        run: its run directory, whose config.yaml the process reads.
        trainer: on how many devices training is.
        meanwhile: called again and again while the stage runs.

    Raises:
        StageError: the process failed; says why in the stage's own words, or by which signal it ended.
    """
    for path in error_files(run, stage):
        path.unlink()
    process = subprocess.Popen(command(run, stage, trainer))
    try:
        while process.poll() is None:
            meanwhile()
            time.sleep(POLL_SECONDS)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode != 0:
        raise _failure(stage, run, process.returncode)


def _failure(stage: Stage, run: RunDirectory, code: int) -> StageError:
    for path in error_files(run, stage):
        return StageError(path.read_text(encoding="utf-8").strip())
    return ended(f"the process of {stage.name}", code, log_file(run))


def main(root: str, name: str, parent: int | None = None) -> int:
    """The stage's own process, or one of those that train together; `parent` is who started it, where it is known."""
    die_with_parent(parent)
    run, stage = RunDirectory(Path(root)), parse_stage(name)
    config = read_config(run.root / "config.yaml")
    together = stage.kind is StageKind.TRAINING and config.trainer.ranks > 1
    rank = _rank() if together else 0
    log_path = log_file(run, rank)

    def work() -> None:
        if rank:
            join(stage, config, run)
            return
        with _alone(run, stage):
            ensure(stage, config, run)

    with logging_to(log_path):
        code = _report(work, stage.name, error_file(run, stage, rank), log_path)
        if together and code == CRASHED:
            # As a rank crashes where another one is gone, the agent says which ended first.
            error_file(run, stage, rank).unlink(missing_ok=True)
        return code


def shard(root: str, name: str, share: Share, parent: int | None, number: int = 0) -> int:
    """One of the processes that share a stage's requests, in one of its rounds; `parent` is the stage's own process."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupted parent ends it
    run, stage = RunDirectory(Path(root)), parse_stage(name)
    config, shards = read_config(run.root / "config.yaml"), Shards(run, stage)
    log_path = shards.log_file(share)

    def work() -> None:
        with shards.held(share.number):
            answer_share(Job(stage, config, run, lambda: None), share, number)

    with logging_to(log_path):
        return _report(work, stage.name, shards.error_file(share), log_path)


def _report(work: Callable[[], object], name: str, error_path: Path, log_path: Path) -> int:
    """Does a process's work, and leaves its error as a line for the process that started it.

    Returns:
        The exit code: 0, `CRASHED`, `INTERRUPTED`, or `REFUSED` where the error is a `LidrError`; `FULL_DISK` where
        it finds no room.
    """
    try:
        work()
    except LidrError as error:
        log.error("%s: %s", name, error)
        return _leave(error, error_path, REFUSED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        log.exception("%s: failed", name)
        return _leave(crashed(name, error, log_path), error_path, CRASHED)
    return 0


def _leave(error: LidrError, path: Path, code: int) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, str(error))
    except FullDiskError:
        return FULL_DISK
    except OSError:  # as on a file system that became read-only; the log has the line
        return code
    return code


def _rank() -> int:
    """Of this process among those that torchrun or srun started; Lightning knows their variables."""
    from pytorch_lightning.utilities import rank_zero_only

    return int(rank_zero_only.rank)  # type: ignore[attr-defined]


def _alone(run: RunDirectory, stage: Stage) -> AbstractContextManager[None]:
    return in_turn(run.root / ".stage.lock", f"{stage.name} or another stage")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lidr.processes")
    parser.add_argument("run", help="run folder")
    parser.add_argument("stage", help="such as iteration-1/responses")
    parser.add_argument("--shard", type=Share.parse, metavar="k/N", help="process k of the N that share it")
    parser.add_argument("--round", type=int, default=0, help="number of the round of files that they share")
    parser.add_argument("--parent", type=int, help="process id to end with")
    return parser.parse_args()


def _start(given: argparse.Namespace) -> int:
    try:
        if given.shard is None:
            return main(given.run, given.stage, given.parent)
        return shard(given.run, given.stage, given.shard, given.parent, given.round)
    except OSError as error:  # the log or the lock cannot be opened
        sys.stderr.write(f"{unusable(error) or error}\n")
        return CRASHED


if __name__ == "__main__":
    sys.exit(_start(_arguments()))
