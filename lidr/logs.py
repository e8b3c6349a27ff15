"""Logging of a run: everything into log.txt, what a person needs onto the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.logging import RichHandler

from lidr.console import console
from lidr.printable import inert

_FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
_QUIET = ("httpx", "httpx2", "urllib3", "filelock", "matplotlib", "fsspec")


def show(level: int = logging.INFO) -> None:
    """Shows the project's messages on standard error."""
    handler = _Lines(
        console=console(stderr=True),
        show_path=False,
        show_level=False,
        log_time_format="%H:%M:%S",
        markup=False,
    )
    root = logging.getLogger("lidr")
    root.handlers = [handler]
    root.setLevel(level)


class _Lines(RichHandler):
    """A traceback is for the log file."""

    def format(self, record: logging.LogRecord) -> str:
        short = logging.makeLogRecord(record.__dict__ | {"exc_info": None, "exc_text": None})
        return inert(super().format(short))


class _Inert(logging.Formatter):
    """A log that is looked at with `cat` does nothing to the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return inert(super().format(record))


class _File(logging.FileHandler):
    """A full disk is no reason to say so for every line that finds no room."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Appends every message of this process, other libraries' included, to a run's log file."""
    handler = _File(path, encoding="utf-8")
    handler.setFormatter(_Inert(_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.getLogger("lidr").setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
