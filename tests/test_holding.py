"""One process works in a folder; another is refused by name, also from another host; a killed one's place is free."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from lidr import holding
from lidr.errors import LidrError, StageError
from lidr.holding import LOCK, OWNER, Owner, alone, in_turn, is_held

DEAD = 2**22 + 1  # no process has such an id


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_SILENCE", 0.5)
    monkeypatch.setattr(holding, "_AT_ONCE", 0.05)


def left(folder: Path, host: str, pid: int = DEAD) -> Path:
    """What an owner leaves that was killed."""
    path = folder / OWNER
    path.write_text(Owner(pid=pid, host=host, since=0.0).model_dump_json())
    return path


def test_it_leaves_nothing_but_the_lock(tmp_path: Path) -> None:
    with alone(tmp_path / "run"):
        assert is_held(tmp_path / "run")
        owner = Owner.model_validate_json((tmp_path / "run" / OWNER).read_bytes())
        assert (owner.pid, owner.host) == (os.getpid(), socket.gethostname())
    assert not is_held(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


@pytest.mark.usefixtures("impatient")
def test_the_place_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom lidr.holding import *\nwith alone(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert (tmp_path / OWNER).exists()
    assert not is_held(tmp_path)
    started = time.monotonic()
    with alone(tmp_path):
        assert time.monotonic() - started < 0.3
    assert not (tmp_path / OWNER).exists()


@pytest.mark.usefixtures("impatient")
def test_one_who_is_about_to_say_its_name_is_not_mixed_up_with_the_dead_one(tmp_path: Path) -> None:
    left(tmp_path, socket.gethostname())
    with (
        FileLock(tmp_path / LOCK),
        pytest.raises(LidrError, match=r": another process works in this run -> wait for it"),
        alone(tmp_path),
    ):
        pass


@pytest.mark.usefixtures("impatient")
def test_a_living_owner_on_another_host_is_named(tmp_path: Path) -> None:
    """Its file system tells this host nothing of its lock."""
    path, ended = left(tmp_path, "node7", 12), threading.Event()
    assert is_held(tmp_path)

    def touch() -> None:
        while not ended.wait(0.02):
            os.utime(path)

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        with (
            pytest.raises(LidrError, match=r"\(pid 12 on host node7, since 19.*\) works in this run"),
            alone(tmp_path),
        ):
            pass
    finally:
        ended.set()
        thread.join()
    assert path.exists()


@pytest.mark.usefixtures("impatient")
def test_a_dead_owner_on_another_host_is_outlasted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left(tmp_path, "node7")
    started = time.monotonic()
    with caplog.at_level("INFO"), alone(tmp_path):
        assert time.monotonic() - started >= 0.5
        assert Owner.model_validate_json((tmp_path / OWNER).read_bytes()).is_here
    assert "left by another host (pid 4194305 on host node7, since 19" in caplog.text
    assert not is_held(tmp_path)


def test_an_owner_on_another_host_of_hours_ago_is_dead(tmp_path: Path) -> None:
    path = left(tmp_path, "node7")
    os.utime(path, (0, 0))
    started = time.monotonic()
    with alone(tmp_path):
        assert time.monotonic() - started < 1


def test_an_owner_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / OWNER).write_text("{")
    with alone(tmp_path):
        pass


def test_it_is_touched_as_long_as_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_BEAT", 0.02)
    with alone(tmp_path):
        os.utime(tmp_path / OWNER, (0, 0))
        ends = time.monotonic() + 5
        while (tmp_path / OWNER).stat().st_mtime == 0 and time.monotonic() < ends:
            time.sleep(0.02)
        assert (tmp_path / OWNER).stat().st_mtime > 0


def test_a_file_system_without_locks_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with (
        pytest.raises(
            LidrError, match=r"\.lock: cannot be locked \(No locks available\) -> put the runs where"
        ),
        alone(tmp_path),
    ):
        pass
    assert is_held(tmp_path), "what its status says stands"


def test_a_process_that_does_not_follow_its_parent_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_PATIENCE", 0.05)
    path = tmp_path / ".stage.lock"
    with (
        in_turn(path, "iteration-1/pairs"),
        pytest.raises(StageError, match=r"an earlier attempt still works as iteration-1/pairs -> end it"),
        in_turn(path, "iteration-1/pairs"),
    ):
        pass


def test_a_process_whose_parent_was_killed_while_it_started_ends() -> None:
    code = f"import time\nfrom lidr.children import die_with_parent\ndie_with_parent({DEAD})\ntime.sleep(60)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 1
