"""JSON Lines on disk: appended and flushed as work is done, so a kill costs at most the line being written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lidr.errors import LidrError
from lidr.files import whole_file


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
    try:
        file = path.open("rb")
    except OSError as error:
        raise LidrError(f"cannot be read ({error.strerror})", where=str(path)) from None
    with file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _decode(line, path, number)


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

    A torn last line is cut off on opening; `kept` are the records that stand.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._cut_torn_line()
        self.kept = list(read(path)) if path.exists() else []
        self._file = path.open("ab")

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Appends whole records and hands them to the operating system at once."""
        self._file.write(b"".join(encode(r) for r in records))
        self._file.flush()

    def _cut_torn_line(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("r+b") as file:
            data = file.read()
            end = data.rfind(b"\n") + 1
            if end < len(data):
                file.truncate(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
