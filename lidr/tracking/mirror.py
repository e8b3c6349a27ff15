"""One W&B run, opened and finished once; whatever W&B does, the run it mirrors goes on."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from lidr.printable import short
from lidr.tracking.choosing import Mode
from lidr.tracking.keys import TableRows
from lidr.tracking.stored import Held, held

if TYPE_CHECKING:
    from wandb import Run

log = logging.getLogger(__name__)

# Seconds. W&B's own defaults are 90 to start and no limit at the end.
_START, _FINISH, _GRACE = 30.0, 120.0, 15.0
_SETTINGS: dict[str, Any] = {
    "console": "off",
    "silent": True,
    # A run of its own, whatever else this process has open.
    "reinit": "create_new",
    "disable_job_creation": True,
    "init_timeout": _START,
    "finish_timeout": _FINISH,
    "finish_timeout_raises": True,
}
_MESSAGE = 200
_FOLDER = "wandb"


@dataclass(frozen=True)
class Start:
    """What `wandb.init` is told."""

    id: str
    name: str
    project: str
    entity: str | None
    group: str | None
    job_type: str
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    folder: Path


@dataclass
class _Attempt:
    """held: what W&B has of earlier attempts. url: where the run is shown, None offline."""

    run: Run | None = None
    held: Held = field(default_factory=Held)
    url: str | None = None


class Mirror:
    """A W&B run, written by a thread of its own: the caller waits for W&B only here and in `finish`, and not long.

    After the first failure, which is a warning, every call does nothing.

    Args:
        start: names the run.
        mode: online, or into the run folder.
        fallback: whether a run that cannot be opened online is opened offline instead.
    """

    def __init__(self, start: Start, mode: Mode, *, fallback: bool = True) -> None:
        self._start, self._mode, self._fallback = start, mode, fallback
        self._attempt = _Attempt()
        self._failure: str | None = None
        self._lock = threading.Lock()
        self._calls: SimpleQueue[tuple[str, Callable[[Run], object]] | None] = SimpleQueue()
        opened = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(opened,), name="wandb", daemon=True)
        self._thread.start()
        most = (_START + _GRACE) * (2 if fallback else 1)
        if not opened.wait(most):
            self._fail("start", TimeoutError(f"no answer within {most:.0f} s"))

    @property
    def alive(self) -> bool:
        return self._failure is None

    @property
    def failure(self) -> str | None:
        """Why nothing is mirrored any more."""
        return self._failure

    @property
    def started(self) -> bool:
        """Whether W&B opened the run."""
        return self._attempt.run is not None

    @property
    def url(self) -> str | None:
        """Where W&B shows the run; None offline."""
        return self._attempt.url

    @property
    def held(self) -> Held:
        """What W&B had of the run before this attempt."""
        return self._attempt.held

    def define_axes(self, axes: Sequence[tuple[str, str]]) -> None:
        """Ties globs of metrics to their step axes."""

        def define(run: Run) -> None:
            for glob, axis in axes:
                run.define_metric(axis)
                run.define_metric(glob, step_metric=axis)

        self._call("define metrics", define)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Appends a row to the history; a `TableRows` among the values becomes a table."""
        self._call("log", lambda run: run.log({k: _wandb_value(v) for k, v in values.items()}, step=step))

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Sets summary values, the columns of W&B's table of runs."""
        self._call("summarize", lambda run: run.summary.update(dict(values)))

    def finish(self, exit_code: int) -> None:
        """Ends the run: finished for exit code 0, else failed."""
        self._calls.put(("finish", lambda run: run.finish(exit_code=exit_code)))
        self._calls.put(None)
        self._thread.join(_FINISH + _GRACE if self.alive else _GRACE)
        if self._thread.is_alive():
            self._fail("finish", TimeoutError("no answer"))

    def _call(self, what: str, act: Callable[[Run], object]) -> None:
        if self.alive:
            self._calls.put((what, act))

    def _work(self, opened: threading.Event) -> None:
        try:
            self._attempt = self._open()
        except BaseException as error:  # wandb also raises SystemExit
            self._fail("start", error)
        opened.set()
        while (call := self._calls.get()) is not None:
            what, act = call
            # An open run is finished even after a failure.
            if self._attempt.run is not None and (self.alive or what == "finish"):
                try:
                    act(self._attempt.run)
                except BaseException as error:
                    self._fail(what, error)

    def _open(self) -> _Attempt:
        _wait_for_a_second_of_its_own(self._start)
        try:
            run = _init(self._start, self._mode)
        except Exception as error:
            if self._mode == "offline" or not self._fallback:
                raise
            log.warning("W&B cannot be used online (%s); the mirror is kept offline", _said(error))
            _forget()
            run = _init(self._start, "offline")
        # An offline run has no address, and W&B warns where it is asked for one.
        url = None if run.offline else run.url
        log.info("W&B run %s: %s", self._start.id, url or self._start.folder / _FOLDER)
        if url is None:
            return _Attempt(run, held(self._start.folder / _FOLDER, self._start.id))
        texts = {key: value for key, value in dict(run.summary).items() if isinstance(value, str)}
        return _Attempt(run, Held(int(run.step), texts), url)

    def _fail(self, what: str, error: BaseException) -> None:
        with self._lock:
            if self._failure is not None:
                return
            self._failure = f"W&B could not {what} ({_said(error)})"
        if self._fallback:
            log.warning(
                "%s; the run goes on without it, its files hold everything: lidr sync %s",
                self._failure,
                self._start.folder,
            )


def _wandb_value(value: Any) -> Any:
    if not isinstance(value, TableRows):
        return value
    import wandb

    columns: list[str | int] = list(value.columns)
    types = list(value.columns.values())
    return wandb.Table(columns=columns, data=[list(row) for row in value.rows], dtype=types, optional=True)


def _said(error: BaseException) -> str:
    """The first line of what W&B says, without the key should it be in there."""
    text = (str(error).strip().splitlines() or [""])[0]
    key = os.environ.get("WANDB_API_KEY")
    return short(f"{type(error).__name__}: {text.replace(key, '***') if key else text}", _MESSAGE)


def _wait_for_a_second_of_its_own(start: Start) -> None:
    """W&B names an attempt's files by the second, and would write over those of one that began in the same."""
    while any((start.folder / _FOLDER).glob(f"*run-{datetime.now():%Y%m%d_%H%M%S}-{start.id}")):
        time.sleep(0.05)


def _forget() -> None:
    """W&B's service takes the id of a run that it failed to open as one in use, until it is started anew."""
    import wandb

    wandb.teardown()


def _init(start: Start, mode: Mode) -> Run:
    import wandb

    known = wandb.Settings.model_fields
    return wandb.init(
        id=start.id,
        resume="allow",
        name=start.name,
        project=start.project,
        entity=start.entity,
        group=start.group,
        job_type=start.job_type,
        tags=list(start.tags),
        config=dict(start.config),
        dir=str(start.folder),
        mode=mode,
        settings=wandb.Settings(**{k: v for k, v in _SETTINGS.items() if k in known}),
    )
