"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lidr.errors import FullDiskError, LidrError

_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file may not grow any further here",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the file that a block writes.

    Raises:
        FullDiskError: there is no room for it.
    """
    try:
        yield
    except OSError as error:
        full = full_disk(error, path)
        if full is None:
            raise
        raise full from error


def full_disk(error: BaseException, path: Path) -> FullDiskError | None:
    """What an error comes to that says there is no room for a file; None for any other."""
    if not isinstance(error, OSError) or error.errno not in _NO_ROOM:
        return None
    return FullDiskError(
        _NO_ROOM[error.errno],
        where=str(path),
        instead="make room, then run the same command again: it goes on from what is written",
    )


def unusable(error: OSError) -> LidrError | None:
    """The line about a file or folder that the operating system refuses; None where it names none."""
    path = error.filename2 or error.filename
    if path is None or not error.strerror:
        return None
    return LidrError(
        f"cannot be used ({error.strerror})",
        where=os.fsdecode(path) if isinstance(path, (str, bytes)) else str(path),
        instead="mend its permissions or kind, or name another one",
    )


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary sibling to write; on disk, it takes the place of `path` when the block ends well.

    Raises:
        FullDiskError: there is no room for it; `path` is as it was.
    """
    temporary = path.with_name(path.name + ".tmp")
    with writing(path):
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Writes a text atomically, in UTF-8: a reader sees the old content or the new, never a part."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary sibling to write into; it takes the place of `path` when the block ends well."""
    temporary, old = path.with_name(path.name + ".tmp"), path.with_name(path.name + ".old")
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for file in filter(Path.is_file, temporary.rglob("*")):
        with file.open("rb") as written:
            os.fsync(written.fileno())
    if path.exists():
        path.rename(old)
    temporary.rename(path)
    shutil.rmtree(old, ignore_errors=True)
