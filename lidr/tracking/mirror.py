"""One W&B run, opened and finished once; whatever W&B does, the run it mirrors goes on."""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from lidr.config import TrackingMode

if TYPE_CHECKING:
    from wandb import Run

log = logging.getLogger(__name__)

Mode = Literal["online", "offline"]
# Seconds. W&B's own defaults are 90 to start and no limit at the end.
_TIMEOUTS = {"init_timeout": 30.0, "finish_timeout": 120.0}
_SETTINGS: dict[str, Any] = {
    "console": "off",
    "silent": True,
    # A run of its own, whatever else this process has open.
    "reinit": "create_new",
    "disable_job_creation": True,
}


@dataclass(frozen=True)
class Start:
    """What `wandb.init` is told."""

    id: str
    name: str
    project: str
    entity: str | None
    group: str | None
    tags: tuple[str, ...]
    config: Mapping[str, Any]
    folder: Path


def choose_mode(configured: TrackingMode) -> tuple[Mode | None, str]:
    """The mode W&B is opened in, None for not at all, and why."""
    if configured is TrackingMode.NONE:
        return None, "tracking=none"
    asked = os.environ.get("WANDB_MODE", "").lower()
    if asked == "disabled" or os.environ.get("WANDB_DISABLED", "").lower() == "true":
        return None, "the environment disables W&B"
    if configured is TrackingMode.OFFLINE:
        return "offline", "tracking=offline"
    if asked in ("offline", "dryrun"):
        return "offline", f"WANDB_MODE={asked}"
    if not _has_key():
        return "offline", "no key found (WANDB_API_KEY, or a netrc entry from `wandb login`)"
    return "online", "a key is there"


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    places = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    return any(_netrc_has(Path(place).expanduser(), host) for place in places if place)


def _netrc_has(path: Path, host: str) -> bool:
    try:
        entry = netrc.netrc(path).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return False
    return entry is not None and bool(entry[2])


class Mirror:
    """A W&B run; after its first failure every call does nothing."""

    def __init__(self, start: Start, mode: Mode) -> None:
        self._run: Run | None = None
        self.alive = False
        with self._guarded("start"):
            self._run = _open(start, mode)
            self.alive = True
            # An offline run has no address, and W&B warns where it is asked for one.
            where = start.folder / "wandb" if self._run.offline else self._run.url
            log.info("W&B run %s: %s", start.id, where)

    @property
    def step(self) -> int:
        """The next row of the history, as W&B counts it."""
        return int(self._run.step) if self._run is not None else 0

    def define_axes(self, axes: Sequence[tuple[str, str]]) -> None:
        """Ties globs of metrics to their step axes."""
        with self._guarded("define metrics") as run:
            for glob, axis in axes:
                run.define_metric(axis)
                run.define_metric(glob, step_metric=axis)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Appends a row to the history."""
        with self._guarded("log") as run:
            run.log(dict(values), step=step)

    def log_table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Logs a table as a row of the history."""
        with self._guarded("log a table") as run:
            import wandb

            run.log({key: wandb.Table(columns=list(columns), data=[list(row) for row in rows])}, step=step)

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Sets summary values, the columns of W&B's table of runs."""
        with self._guarded("summarize") as run:
            run.summary.update(dict(values))

    def finish(self, exit_code: int) -> None:
        """Ends the run: finished for exit code 0, else failed."""
        if self._run is None:
            return
        self.alive = True  # tried even after a failure: an open run would swallow the next one
        with self._guarded("finish") as run:
            run.finish(exit_code=exit_code)
        self.alive = False

    @contextmanager
    def _guarded(self, what: str) -> Iterator[Any]:
        """Runs a block of W&B calls; its failure is a warning, once."""
        if self._run is None and what != "start":
            yield _NOTHING
            return
        try:
            yield self._run if self.alive or what == "start" else _NOTHING
        except Exception as error:
            self.alive = False
            log.warning(
                "W&B could not %s (%s: %s); the run goes on without it, its files hold everything",
                what,
                type(error).__name__,
                error,
            )


class _Nothing:
    """Takes every call and does nothing."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: object, **kwargs: object) -> Any:
        return self


_NOTHING = _Nothing()


def _open(start: Start, mode: Mode) -> Run:
    """Opens the run; online falls back to offline where W&B cannot be reached."""
    try:
        return _init(start, mode)
    except Exception as error:
        if mode == "offline":
            raise
        reason = str(error).splitlines()[0] if str(error) else ""
        log.warning("W&B is out of reach (%s: %s); the mirror is kept offline", type(error).__name__, reason)
        return _init(start, "offline")


def _init(start: Start, mode: Mode) -> Run:
    import wandb

    known = wandb.Settings.model_fields
    wanted = {k: v for k, v in (_SETTINGS | _TIMEOUTS).items() if k in known}
    return wandb.init(
        id=start.id,
        resume="allow",
        name=start.name,
        project=start.project,
        entity=start.entity,
        group=start.group,
        tags=list(start.tags),
        config=dict(start.config),
        dir=str(start.folder),
        mode=mode,
        settings=wandb.Settings(**wanted),
    )
