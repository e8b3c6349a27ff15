"""Who works in a folder: one process at a time, on whatever host; the place of one that was killed is free.

The operating system's lock says it on one host, and on several where they share a file system that keeps locks. Where
that one does not, the file of whoever works there says it: it is touched again and again while they live.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from lidr.errors import LidrError, StageError
from lidr.files import write_text

log = logging.getLogger(__name__)
LOCK, OWNER = ".lock", ".owner.json"
_AT_ONCE = 0.5  # seconds for which another command may look whether the folder is held
_BEAT = 10.0  # seconds from one touch to the next
_SILENCE = 35.0  # seconds after which an owner on another host is taken for dead
_LONG_DEAD = 3600.0  # no two hosts' clocks differ by as much
_PATIENCE = 30.0


class Owner(BaseModel):
    """Whoever works in a folder. since: seconds of the epoch."""

    pid: int
    host: str
    since: float

    @property
    def is_here(self) -> bool:
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since).astimezone().isoformat(" ", "seconds")
        return f"pid {self.pid} on host {self.host}, since {since}"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a folder for this process.

    Raises:
        LidrError: another process works there, which it names; or the file system keeps no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=_AT_ONCE)
    except Timeout:
        raise _taken(folder, _living_owner(folder)) from None
    except OSError as error:
        if error.filename is not None:  # it cannot even be opened, which is said as of any file
            raise
        raise LidrError(
            f"cannot be locked ({error.strerror})",
            where=str(folder / LOCK),
            instead="put the runs where files can be locked: paths.outputs=<folder>",
        ) from None
    try:
        _outlast(folder)
        with _alive(folder):
            yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process works in a folder, as far as this host can tell."""
    try:
        with FileLock(folder / LOCK).acquire(timeout=0):
            pass
    except (Timeout, OSError):  # where nothing may be written, what is recorded stands
        return True
    owner, touched = _owner(folder), _touched(folder)
    return owner is not None and not owner.is_here and time.time() - touched < _SILENCE


@contextmanager
def in_turn(path: Path, what: str) -> Iterator[None]:
    """Waits for a process of an earlier attempt that is about to follow its dead parent.

    Args:
        path: of the lock.
        what: the other one works as, for the error.

    Raises:
        StageError: it lives on.
    """
    lock = FileLock(path, timeout=_PATIENCE)
    try:
        lock.acquire()
    except Timeout:
        raise StageError(
            f"a process of an earlier attempt still works as {what}",
            where=str(path.parent),
            instead="end it, then run the same command again",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _taken(folder: Path, owner: Owner | None) -> LidrError:
    named = f" ({owner})" if owner else ""
    return LidrError(
        f"another process{named} works in this run", where=str(folder), instead="wait for it, or end it"
    )


def _owner(folder: Path) -> Owner | None:
    try:
        return Owner.model_validate_json((folder / OWNER).read_bytes())
    except (OSError, ValidationError):
        return None


def _touched(folder: Path) -> float:
    try:
        return (folder / OWNER).stat().st_mtime
    except OSError:
        return 0.0


def _living_owner(folder: Path) -> Owner | None:
    """Who holds the lock; it may be about to write so."""
    ends = time.monotonic() + 2 * _AT_ONCE
    while time.monotonic() < ends:
        owner = _owner(folder)
        if owner is not None and not (owner.is_here and _is_gone(owner.pid)):
            return owner
        time.sleep(0.05)
    return None


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _outlast(folder: Path) -> None:
    """Passes an owner that was killed; of one on another host that takes a while to see.

    Raises:
        LidrError: it lives.
    """
    owner, touched = _owner(folder), _touched(folder)
    if owner is None or owner.is_here or time.time() - touched > _LONG_DEAD:
        return
    log.info("%s was left by another host (%s): a sign of life is waited for, %d s", folder, owner, _SILENCE)
    ends = time.monotonic() + _SILENCE
    while time.monotonic() < ends:
        time.sleep(min(1.0, _SILENCE / 10))
        if _touched(folder) != touched:
            found = _owner(folder)
            if found is not None:
                raise _taken(folder, found)
            return
    log.info("%s: there was none, the run goes on here", folder)


@contextmanager
def _alive(folder: Path) -> Iterator[None]:
    """Says who works here, again and again."""
    path, ended = folder / OWNER, threading.Event()
    write_text(
        path,
        Owner(pid=os.getpid(), host=socket.gethostname(), since=time.time()).model_dump_json() + "\n",
    )

    def touch() -> None:
        while not ended.wait(_BEAT):
            with suppress(OSError):
                os.utime(path)

    beats = threading.Thread(target=touch, daemon=True)
    beats.start()
    try:
        yield
    finally:
        ended.set()
        beats.join()
        with suppress(OSError):
            path.unlink()
