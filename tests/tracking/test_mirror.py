"""W&B that fails, refuses, hangs or is not there: one warning, and the run goes on."""

from __future__ import annotations

import dataclasses
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lidr.config import RunConfig, TrackingMode
from lidr.tracking import mirror as module

from .conftest import mirrored, point_to
from .small import ROWS
from .wandb_file import stored_runs
from .wandb_server import KEY, wandb_server


class FakeRun:
    """Takes everything, and fails in one place."""

    def __init__(self, broken: str, how: BaseException, *, offline: bool) -> None:
        self._broken, self._how, self.offline_ = broken, how, offline
        self.finished: list[int] = []
        self.logged: list[int] = []

    def _touch(self, name: str) -> None:
        if self._broken in (name, "everything"):
            raise self._how

    @property
    def offline(self) -> bool:
        self._touch("offline")
        return self.offline_

    @property
    def url(self) -> str:
        self._touch("url")
        return "https://example.invalid/run"

    @property
    def step(self) -> int:
        self._touch("step")
        return 0

    @property
    def summary(self) -> dict[str, Any]:
        self._touch("summary")
        return {}

    def define_metric(self, *args: object, **kwargs: object) -> None:
        self._touch("define_metric")

    def log(self, values: dict[str, Any], step: int) -> None:
        self._touch("log")
        self.logged.append(step)

    def finish(self, exit_code: int) -> None:
        self.finished.append(exit_code)
        self._touch("finish")


def use(monkeypatch: pytest.MonkeyPatch, fake: FakeRun) -> None:
    def init(**kwargs: Any) -> FakeRun:
        fake._touch("init")
        return fake

    monkeypatch.setattr("wandb.init", init)
    monkeypatch.setenv("WANDB_MODE", "offline" if fake.offline_ else "online")


ERRORS = [OSError("no route to host"), SystemExit(1), RuntimeError(f"key {KEY} is wrong\nand more")]
PLACES = ("init", "offline", "url", "step", "summary", "define_metric", "log", "finish", "everything")


@pytest.mark.parametrize("how", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("broken", PLACES)
def test_a_failure_anywhere_is_one_warning(
    config: RunConfig,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
    how: BaseException,
) -> None:
    fake = FakeRun(broken, how, offline=broken not in ("url", "step"))
    use(monkeypatch, fake)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with caplog.at_level(logging.WARNING):
        tracker = mirrored(run, config, upload=not fake.offline_)
    assert tracker.failure is not None
    assert KEY not in caplog.text + tracker.failure
    assert "and more" not in tracker.failure
    if fake.offline_:
        (record,) = caplog.records
        assert f"lidr sync {run}" in record.getMessage()
    opened = broken not in ("init", "offline", "url", "step", "everything")
    assert fake.finished == ([0] if opened else [])
    assert bool(fake.logged) == (broken in ("summary", "finish"))
    assert not (run / "wandb" / "uploaded.json").exists()


@pytest.mark.parametrize("broken", ["init", "log", "finish"])
def test_a_call_that_never_returns_does_not_hold_the_run(
    config: RunConfig,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    for name, seconds in (("_START", 0.1), ("_FINISH", 0.2), ("_GRACE", 0.1)):
        monkeypatch.setattr(module, name, seconds)
    released = threading.Event()

    class Hanging(FakeRun):
        def _touch(self, name: str) -> None:
            if name == broken:
                released.wait()

    use(monkeypatch, Hanging(broken, OSError(), offline=True))
    begin = time.monotonic()
    with caplog.at_level(logging.WARNING):
        mirrored(run, config)
    released.set()
    assert time.monotonic() - begin < 5
    (record,) = caplog.records
    assert "no answer" in record.getMessage()


@pytest.mark.usefixtures("fresh_service")
@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("server", ["closed port", "refuses"])
def test_a_server_that_is_not_there_or_refuses_is_a_warning_and_the_mirror_offline(
    config: RunConfig,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    server: str,
) -> None:
    """W&B's own client, online: against a port on which nobody listens, and against a server that says 401."""
    monkeypatch.setattr(module, "_START", 3.0)
    monkeypatch.setitem(module._SETTINGS, "init_timeout", 3.0)
    online = dataclasses.replace(
        config, tracking=dataclasses.replace(config.tracking, mode=TrackingMode.WANDB)
    )
    begin = time.monotonic()
    with caplog.at_level(logging.WARNING, logger="lidr"):
        if server == "refuses":
            with wandb_server(refuses=401) as found:
                point_to(monkeypatch, found.url)
                mirrored(run, online)
        else:
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))
                point_to(monkeypatch, f"http://127.0.0.1:{closed.getsockname()[1]}")
                mirrored(run, online)
    assert time.monotonic() - begin < 20
    (warning,) = [r.getMessage() for r in caplog.records if r.name.startswith("lidr")]
    assert "cannot be used online" in warning
    (stored,) = stored_runs(run)
    assert stored.steps == list(range(ROWS))
    assert stored.exit_code == 0
