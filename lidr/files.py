"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lidr.errors import FullDiskError, LidrError

_IN_WORDS = "(os error "  # so libraries that are written in Rust, as safetensors, end what they say
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
    except Exception as error:
        full = full_disk(error, path)
        if full is None:
            raise
        raise full from error


def full_disk(error: BaseException, path: Path) -> FullDiskError | None:
    """What an error comes to that says there is no room for a file; None for any other."""
    number = error.errno if isinstance(error, OSError) else _errno(str(error))
    if number not in _NO_ROOM:
        return None
    return FullDiskError(
        _NO_ROOM[number],
        where=str(path),
        instead="make room, then run the same command again: it goes on from what is written",
    )


def _errno(text: str) -> int | None:
    digits = text.rpartition(_IN_WORDS)[2].partition(")")[0] if _IN_WORDS in text else ""
    return int(digits) if digits.isdecimal() else None


def unusable(error: OSError) -> LidrError | None:
    """The line about a file or folder that the operating system refuses; None where it names none."""
    path = error.filename2 or error.filename
    if path is None or not error.strerror:
        return None
    where = os.fsdecode(path) if isinstance(path, (str, bytes)) else str(path)
    return full_disk(error, Path(where)) or LidrError(
        f"cannot be used ({error.strerror})",
        where=where,
        instead="mend its permissions or kind, or name another one",
    )


@contextmanager
def whole_file(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """A temporary sibling to write; on disk, it takes the place of `path` when the block ends well.

    Args:
        path: of the file.
        sync: wait until the disk has it; needless for what a command makes again.

    Raises:
        FullDiskError: there is no room for it; `path` is as it was.
    """
    temporary = path.with_name(path.name + ".tmp")
    with writing(path):
        try:
            yield temporary
            if sync:
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Writes a text as `write_bytes` does, in UTF-8."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"), sync=sync)


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Writes a file atomically, as `whole_file`: a reader sees the old content or the new, never a part."""
    with whole_file(path, sync=sync) as temporary:
        temporary.write_bytes(data)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary sibling to write into; it takes the place of `path` when the block ends well.

    Raises:
        FullDiskError: there is no room for it; `path` is as it was.
    """
    temporary, old = path.with_name(path.name + ".tmp"), path.with_name(path.name + ".old")
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    with writing(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            for file in filter(Path.is_file, temporary.rglob("*")):
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            if path.exists():
                path.rename(old)
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    shutil.rmtree(old, ignore_errors=True)
