"""``lidr sync DIR...``: uploads to W&B what runs have kept offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lidr.commands.folders import runs_in
from lidr.config import TrackingMode, identity, read_config
from lidr.console import console
from lidr.errors import LidrError


@dataclass(frozen=True)
class _Sent:
    """state: ``uploaded``, ``there``, ``skipped`` or ``failed``. ends: whether the next run would fail as well."""

    state: str
    note: str = ""
    ends: bool = False

    def line(self, run: Path) -> str:
        return f"{self.state:<10}{run}" + (f": {self.note}" if self.note else "")


def sync(folders: Sequence[str]) -> int:
    """Uploads every run that the server does not have as it is now, a line each; 1 where one could not be.

    A run is mirrored anew from its own files, under its own id: what the server has is not sent again.

    Raises:
        ConfigError: there is no key.
        LidrError: a folder holds no run.
    """
    from lidr.tracking.choosing import require_key

    require_key("lidr sync")
    runs, terminal = runs_in(folders), console()
    states = []
    for place, run in enumerate(runs, start=1):
        sent = _send(run)
        states.append(sent.state)
        terminal.print(sent.line(run), highlight=False, soft_wrap=True)
        if sent.ends and place < len(runs):
            terminal.print(f"{len(runs) - place} more not tried", highlight=False)
            break
    return 1 if "failed" in states else 0


def _send(run: Path) -> _Sent:
    from lidr.tracking import Tracker
    from lidr.tracking.uploaded import is_uploaded

    try:
        config = read_config(run / "config.yaml")
    except LidrError as error:
        return _Sent("failed", str(error))
    if config.tracking.mode is TrackingMode.NONE:
        return _Sent("skipped", "tracking=none")
    if is_uploaded(config, run):
        return _Sent("there")
    with Tracker(config, run, identity(config), upload=True) as tracker:
        tracker.mirror_all()
    if tracker.failure is not None:
        return _Sent("failed", tracker.failure, ends=not tracker.started)
    return _Sent("uploaded", tracker.url or "")
