"""Looks after processes that work side by side: one that dies is started again alone, the others go on."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lidr.children import FULL_DISK, REFUSED, ended, how
from lidr.errors import StageError
from lidr.progress import Advance

log = logging.getLogger(__name__)
RESTARTS = 2
_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Work:
    """What one process does.

    name: in log lines and errors.
    command, environment: what starts it, and starts it again.
    folder: it appends its records to JSONL files below.
    error_file: where it leaves the line it ends with.
    log_file: where its output goes.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    error_file: Path
    log_file: Path


def supervise(works: Sequence[Work], advance: Advance) -> None:
    """Runs all to their end.

    Raises:
        StageError: a process ended with an error in its own words (`REFUSED`) and without a new record, or was
            started again twice in a row without one. The others are ended, as they are on any other exception.
    """
    workers = [_Worker(work) for work in works]
    try:
        for worker in workers:
            worker.start()
        while running := [worker for worker in workers if not worker.finished]:
            advance(sum(worker.watch() for worker in running))
            time.sleep(_POLL_SECONDS)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()


class _Worker:
    """One process, through all its starts."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.finished = False
        self._records = _Records(work.folder)
        self._since_start = self._fruitless = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        work = self.work
        work.error_file.unlink(missing_ok=True)
        work.folder.mkdir(parents=True, exist_ok=True)
        self._since_start = 0
        with work.log_file.open("ab") as output:
            self._process = subprocess.Popen(
                work.command, env=work.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        log.info("%s: started as %d", work.name, self._process.pid)

    def watch(self) -> int:
        """Starts it again where it died; returns the number of records since the last look."""
        code = None if self._process is None else self._process.poll()
        new = self._records.count()
        self._since_start += new
        if code == 0:
            self.finished = True
        elif code is not None:
            self._died(code)
        return new

    def _died(self, code: int) -> None:
        message = self._message()
        if self._since_start:
            self._fruitless = 0
        elif code in (REFUSED, FULL_DISK) or self._fruitless == RESTARTS:
            raise StageError(message) if message else self._ended(code)
        self._fruitless += 1
        log.warning(
            "%s: ended after %d records (%s), is started again; see %s",
            self.work.name,
            self._since_start,
            message or how(code),
            self.work.log_file,
        )
        self.start()

    def _message(self) -> str:
        path = self.work.error_file
        return path.read_text(encoding="utf-8").strip() if path.exists() else ""

    def _ended(self, code: int) -> StageError:
        what = f"{self.work.name}, started again {RESTARTS} times without a new record,"
        return ended(what, code, self.work.log_file)

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Records:
    """Counts the whole lines below a folder as they are written, without reading any twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, int] = {}

    def count(self) -> int:
        """Lines that ended since the last call."""
        return sum(self._new_lines(path) for path in sorted(self.folder.rglob("*.jsonl")))

    def _new_lines(self, path: Path) -> int:
        start = self._read.get(path, 0)
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
        # A torn line is cut off when its process starts again: what follows the last line end is read again.
        self._read[path] = start + data.rfind(b"\n") + 1
        return data.count(b"\n")
