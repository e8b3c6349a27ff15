"""A stage in a process of its own: its memory comes back by exit, and its crash is a stage's failure."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from filelock import FileLock

from lidr.config import TrainerConfig, read_config
from lidr.errors import LidrError, StageError
from lidr.execute import ensure, join
from lidr.files import write_text
from lidr.launch import (
    POLL_SECONDS,
    command,
    die_with_parent,
    ended,
    error_file,
    error_files,
    log_file,
)
from lidr.logs import logging_to
from lidr.stages import Stage, StageKind, parse_stage
from lidr.store import RunDirectory

log = logging.getLogger(__name__)
_ORPHAN_SECONDS = 30


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


def main(root: str, name: str) -> int:
    """The stage's own process, or one of those that train together."""
    die_with_parent()
    run, stage = RunDirectory(Path(root)), parse_stage(name)
    config = read_config(run.root / "config.yaml")
    rank = _rank() if stage.kind is StageKind.TRAINING and config.trainer.ranks > 1 else 0
    with logging_to(log_file(run, rank)), _alone(run) if rank == 0 else nullcontext():
        try:
            (ensure if rank == 0 else join)(stage, config, run)
        except LidrError as error:
            log.error("%s: %s", stage.name, error)
            path = error_file(run, stage, rank)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, str(error))
            return error.exit_code
        except Exception:
            log.exception("%s: failed", stage.name)
            return 1
    return 0


def _rank() -> int:
    """Of this process among those that torchrun or srun started; Lightning knows their variables."""
    from pytorch_lightning.utilities import rank_zero_only

    return int(rank_zero_only.rank)  # type: ignore[attr-defined]


def _alone(run: RunDirectory) -> FileLock:
    return FileLock(run.root / ".stage.lock", timeout=_ORPHAN_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
