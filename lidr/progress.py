"""Progress of a stage: a bar with rate and time left on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.text import Text

from lidr.console import console

log = logging.getLogger(__name__)
LOG_EVERY_SECONDS = 30.0


@runtime_checkable
class Advance(Protocol):
    """Called with the number of items done since the last call."""

    def __call__(self, done: int, /) -> None: ...


class _Rate(ProgressColumn):
    def render(self, task: RichTask) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "-/s")


@contextmanager
def bar(title: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Shows progress on standard error.

    Args:
        title: what is being done, as in ``iteration-1/responses es``.
        total: items of the whole job.
        done: items an earlier attempt finished.
    """
    if sys.stderr.isatty():
        with _rich_bar(title, total, done) as advance:
            yield advance
    else:
        yield _LogLines(title, total, done)


@contextmanager
def _rich_bar(title: str, total: int, done: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, completed=done)
        yield lambda n, /: progress.advance(task, n)


class _LogLines:
    def __init__(self, title: str, total: int, done: int) -> None:
        self.title, self.total, self.done = title, total, done
        self._first = done
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, /) -> None:
        self.done += done
        now = time.monotonic()
        if now - self._last < LOG_EVERY_SECONDS:
            return
        self._last = now
        rate = (self.done - self._first) / (now - self._start)
        left = (
            f"{rate:.1f}/s, about {(self.total - self.done) / rate:.0f} s left" if rate else "nothing new yet"
        )
        log.info("%s: %d of %d, %s", self.title, self.done, self.total, left)
