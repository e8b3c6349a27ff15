"""Processes that were started by another one: they end with it, and it says how they ended."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from pathlib import Path

from lidr.errors import StageError
from lidr.files import full_disk, unusable
from lidr.memory import ran_out

POLL_SECONDS = 0.5
CRASHED = 1  # exit code of a process that an exception ended
REFUSED = 3  # of one that left its error, a `LidrError`, in a file
FULL_DISK = 28  # of one that found no room for it
INTERRUPTED = 130
_OF_A_SHELL = 128
_GO_ON = "run the same command again, it goes on from what is finished"


def die_with_parent(parent: int | None = None) -> None:
    """Ends this process soon after its parent, so that nobody works in a run twice.

    Args:
        parent: its process id; by default that of whoever is the parent now.
    """
    expected = os.getppid() if parent is None else parent

    def watch() -> None:
        while os.getppid() == expected:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def how(code: int) -> str:
    """What an exit code means: of a signal where it is negative, or 128 and more as a shell and srun say it."""
    if code - _OF_A_SHELL in set(signal.Signals):
        code = _OF_A_SHELL - code
    if code == -signal.SIGKILL:
        return "by signal SIGKILL; the system ends a process so that runs out of memory"
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def ended(what: str, code: int, log_path: Path) -> StageError:
    """The error of a process that ended with an exit code other than 0, negative for a signal."""
    if code == FULL_DISK:
        return crashed(what, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), log_path)
    return StageError(f"{what} ended {how(code)}", where=str(log_path), instead=_GO_ON)


def crashed(what: str, error: BaseException, log_path: Path) -> StageError:
    """The line about an exception that is no `LidrError`, whose traceback is in a log."""
    full = full_disk(error, Path(getattr(error, "filename", None) or log_path.parent))
    if full is not None:
        return full
    refused = unusable(error) if isinstance(error, OSError) else None
    if refused is not None:
        return StageError(f"{refused.what}, {what} needs it", where=refused.where, instead=refused.instead)
    first = next(iter(str(error).strip().splitlines()), "")
    reason = f"{type(error).__name__}: {first}" if first else type(error).__name__
    if ran_out(error):
        return StageError(
            f"{what} ran out of memory ({reason})",
            where=str(log_path),
            instead=f"end what else needs memory here, or take a machine with more; {_GO_ON}",
        )
    return StageError(
        f"{what} failed ({reason})", where=str(log_path), instead=f"see the traceback there; {_GO_ON}"
    )
