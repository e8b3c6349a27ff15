"""A disk that is full from the n-th write on: every open, write, rename, fsync and mkdir below a folder is counted."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

_WRITES = frozenset("wax+")


class Disk:
    """Counts the calls that need room below `root` and refuses from the `full_from`-th on, `refusals` of them.

    What writes through a C library (tensors) is not seen; a file system that is full in truth refuses that.

    Args:
        root: the folder.
        full_from: the first call that finds no room, from 1; 0 for none.
        refusals: how many calls in a row find none; None: all that follow.
        record: a descriptor that takes a line a call.
    """

    def __init__(
        self, root: Path, full_from: int = 0, refusals: int | None = None, record: int | None = None
    ) -> None:
        self.root, self.full_from, self.refusals, self.record = str(root), full_from, refusals, record
        self.count = 0

    def need(self, what: str, path: Any) -> None:
        """One call.

        Raises:
            OSError: ENOSPC, where it finds no room.
        """
        if not self._holds(path):
            return
        name = _absolute(path)
        self.count += 1
        if self.record is not None:
            os.write(self.record, f"{what} {name[len(self.root) + 1 :]}\n".encode())
        past = self.count - self.full_from
        if self.full_from and past >= 0 and (self.refusals is None or past < self.refusals):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    def _holds(self, path: Any) -> bool:
        return _absolute(path).startswith(self.root)

    def mount(self) -> None:
        """As `mounted`, for the rest of this process."""
        self._kept = self.mounted()
        self._kept.__enter__()

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Stands between this process and the operating system."""
        with (
            patch.object(io, "open", self._open),
            patch.object(builtins, "open", self._open),
            patch.object(os, "open", self._os_open),
            patch.object(os, "mkdir", self._counted("mkdir", os.mkdir, 0)),
            patch.object(os, "replace", self._counted("rename", os.replace, 1)),
            patch.object(os, "rename", self._counted("rename", os.rename, 1)),
            patch.object(os, "fsync", self._fsync),
        ):
            yield

    def _counted(self, what: str, real: Any, place: int) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.need(what, args[place])
            return real(*args, **kwargs)

        return call

    def _fsync(self, file: Any, real: Any = os.fsync) -> None:
        number = file if isinstance(file, int) else file.fileno()
        self.need("fsync", os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115
        real(file)

    def _os_open(
        self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None, real: Any = os.open
    ) -> int:
        if flags & os.O_CREAT and isinstance(path, (str, bytes, os.PathLike)):
            self.need("open", path)
        number: int = real(path, flags, mode, dir_fd=dir_fd)
        return number

    def _open(
        self, file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: bool = True, opener: Any = None, real: Any = io.open,
    ) -> Any:  # fmt: skip
        if isinstance(file, int) or not self._holds(file) or not _WRITES & set(mode):
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        self.need("open", file)
        raw = _Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        raw.disk = self
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding, errors, newline, line_buffering=buffering == 1)


def _absolute(path: Any) -> str:
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100  (only names are looked at)


class _Raw(io.FileIO):
    """What is below the buffers: a call is one the operating system would see."""

    disk: Disk

    def write(self, data: Any, /) -> int:
        self.disk.need("write", self.name)
        return super().write(data)
