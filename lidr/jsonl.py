"""JSON Lines on disk: appended and flushed as work is done, so a kill costs at most the line being written."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

from lidr.errors import LidrError
from lidr.files import whole_file, writing

_BLOCK, _LARGE_BLOCK = 1 << 16, 1 << 20
_ID = re.compile(rb'\{"id": "([^"\\]*)"')
_LARGEST = 1e300


class Line(NamedTuple):
    """A record with its place: the line's number from 1, and the byte at which it starts."""

    number: int
    offset: int
    record: dict[str, Any]


def encode(record: Mapping[str, Any]) -> bytes:
    """One record as a line of UTF-8; a lone surrogate is escaped, since UTF-8 cannot hold it."""
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8")
    except UnicodeEncodeError:
        return (json.dumps(record, ensure_ascii=True) + "\n").encode("ascii")


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a file, one after the other.

    Raises:
        LidrError: the file is missing, or a line is not a JSON object in UTF-8; names file and line.
    """
    return (record for _, record in numbered(path))


def numbered(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Records of a file with the numbers of their lines, from 1; raises as `read`."""
    return ((number, _decode(line, path, number)) for number, _, line in _lines(path))


def lines(path: Path) -> Iterator[Line]:
    """Records of a file with their places; a last line that does not end, torn by a kill, is passed over.

    Raises:
        LidrError: as `read`.
    """
    return (
        Line(number, offset, _decode(line, path, number))
        for number, offset, line in _lines(path)
        if line.endswith(b"\n")
    )


def lines_of(path: Path, wants: Callable[[str], bool]) -> Iterator[Line | None]:
    """As `lines`, but None in place of a record whose id is not wanted: such a line is not decoded, nor checked.

    Only where the id stands first, as in every file of a run, is it known without decoding the line.
    """
    for number, offset, line in _lines(path):
        if line.endswith(b"\n"):
            found = _ID.match(line)
            unwanted = found is not None and not wants(found[1].decode("utf-8", "replace"))
            yield None if unwanted else Line(number, offset, _decode(line, path, number))


def is_number(value: object) -> bool:
    """Whether a value of a record is a finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def whole_lines(path: Path) -> int:
    """Lines of a file that end, 0 where there is no file."""
    if not path.exists():
        return 0
    with _open(path) as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(_LARGE_BLOCK), b""))


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise LidrError(
            f"cannot be read ({error.strerror})", where=str(path), instead="put the file back"
        ) from None


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Number, offset and bytes of every line that is not blank."""
    offset = 0
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, offset, line
            offset += len(line)


def _decode(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (
        ValueError,
        RecursionError,
    ) as error:  # broken JSON, a number of thousands of digits, endless nesting
        reason = (
            "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"is not readable JSON ({error})"
        )
        raise LidrError(
            f"the line {reason}", where=f"{path}:{number}", instead="mend or delete the line"
        ) from None
    if not isinstance(record, dict):
        raise LidrError(
            f"the line is a JSON {type(record).__name__}, not an object",
            where=f"{path}:{number}",
            instead='{"id": ...}',
        )
    return record


def write(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Writes a whole file atomically; returns the number of records."""
    count = 0
    with whole_file(path) as temporary, temporary.open("wb") as file:
        for record in records:
            file.write(encode(record))
            count += 1
    return count


class Appender:
    """Appends records to a file that may hold the whole records of an earlier, killed attempt.

    A torn last line is cut off on opening. Nothing is held in memory, but `kept` where it is asked for.

    Raises:
        FullDiskError: there is no room for the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
        self._size = _end_of_last_line(path)
        if self._size < path.stat().st_size:
            self._file.truncate(self._size)

    @cached_property
    def kept(self) -> list[dict[str, Any]]:
        """The records that stand, as they are when first asked for."""
        return list(read(self.path))

    def append(self, records: Iterable[Mapping[str, Any]]) -> list[int]:
        """Appends whole records and hands them to the operating system at once.

        Returns:
            The byte at which each record starts.

        Raises:
            FullDiskError: there is no room; the records that found some stand, and no part of another.
        """
        encoded = [encode(r) for r in records]
        offsets = list(itertools.accumulate(map(len, encoded), initial=self._size))[:-1]
        with writing(self.path):
            self._write(b"".join(encoded))
        return offsets

    def _write(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += self._file.write(data[written:] if written else data)
        except OSError:
            self._size += data.rfind(b"\n", 0, written) + 1
            with suppress(OSError):
                self._file.truncate(self._size)
            raise
        self._size += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with writing(self.path), self._file:
            os.fsync(self._file.fileno())


def _end_of_last_line(path: Path) -> int:
    """The byte after the last line end, found from the file's end."""
    with path.open("rb") as file:
        start = file.seek(0, os.SEEK_END)
        while start:
            end, start = start, max(0, start - _BLOCK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
    return 0
