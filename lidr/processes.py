"""A stage in a process of its own: its memory comes back by exit, and its crash is a stage's failure."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from lidr.config import read_config
from lidr.errors import LidrError, StageError
from lidr.files import write_text
from lidr.logs import logging_to
from lidr.stages import Stage, parse_stage
from lidr.store import RunDirectory

log = logging.getLogger(__name__)
_POLL_SECONDS = 0.5
_ORPHAN_SECONDS = 30


def run_stage(stage: Stage, run: RunDirectory, meanwhile: Callable[[], None]) -> None:
    """Starts a stage as ``python -m lidr.processes RUN STAGE`` and waits for it.

    Args:
        stage: what to run.
        run: its run directory, whose config.yaml the process reads.
        meanwhile: called again and again while the stage runs.

    Raises:
        StageError: the process failed; says why in the stage's own words, or by which signal it ended.
    """
    error_file = _error_file(run, stage)
    error_file.unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, "-m", "lidr.processes", str(run.root), stage.name])
    try:
        while process.poll() is None:
            meanwhile()
            time.sleep(_POLL_SECONDS)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode != 0:
        raise _failure(stage, run, process.returncode)


def _failure(stage: Stage, run: RunDirectory, code: int) -> StageError:
    path = _error_file(run, stage)
    if path.exists():
        return StageError(path.read_text(encoding="utf-8").strip())
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    hint = "; the system ends a process so that runs out of memory" if code == -signal.SIGKILL else ""
    return StageError(
        f"the process of {stage.name} ended {how}{hint}",
        where=str(run.root / "log.txt"),
        instead="run the same command again, it goes on from what is finished",
    )


def _error_file(run: RunDirectory, stage: Stage) -> Path:
    return run.iteration(stage.iteration) / f"{stage.kind}.error.tmp"


def _die_with_parent() -> None:
    """Ends this process soon after its parent, so that nobody works in a run twice."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(root: str, name: str) -> int:
    """The stage's own process."""
    from lidr.execute import ensure

    _die_with_parent()
    run, stage = RunDirectory(Path(root)), parse_stage(name)
    with logging_to(run.root / "log.txt"), FileLock(run.root / ".stage.lock", timeout=_ORPHAN_SECONDS):
        try:
            ensure(stage, read_config(run.root / "config.yaml"), run)
        except LidrError as error:
            log.error("%s: %s", stage.name, error)
            _error_file(run, stage).parent.mkdir(parents=True, exist_ok=True)
            write_text(_error_file(run, stage), str(error))
            return error.exit_code
        except Exception:
            log.exception("%s: failed", stage.name)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
