"""What comes from outside: a full disk, an engine that crashes. One line each, and what is finished stays."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Container, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr import jsonl, processes
from lidr.children import CRASHED, FULL_DISK, REFUSED
from lidr.compose import compose_run
from lidr.config import RunConfig, SamplingConfig
from lidr.engines import load
from lidr.engines.base import Completion, Request
from lidr.errors import FullDiskError, LidrError, StageError
from lidr.files import whole_file, write_text
from lidr.launch import error_file
from lidr.logs import logging_to
from lidr.loop import run
from lidr.stages import parse_stage
from lidr.store import RunDirectory
from lidr.synthesis import generate
from tests.synthesis.make import SAMPLING, FakeEngine, answer, folder_bytes, prompts

RESPONSES = parse_stage("iteration-1/responses")


class FullDisk:
    """A file of an `Appender` on a disk with room for so many bytes more."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = int(self.file.write(data[: self.room]))
        self.room -= written
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> None:
        self.file.__enter__()

    def __exit__(self, *reason: object) -> None:
        self.file.__exit__(*reason)


@given(room=st.integers(0, 120), batch=st.integers(1, 3))
def test_an_append_without_room_leaves_whole_records(
    tmp_path_factory: pytest.TempPathFactory, room: int, batch: int
) -> None:
    path = tmp_path_factory.mktemp("full") / "a.jsonl"
    records = [{"id": str(i), "text": "ä" * i} for i in range(6)]
    whole = b"".join(map(jsonl.encode, records))
    with jsonl.Appender(path) as file:
        file._file = FullDisk(file._file, room)  # type: ignore[assignment]
        batches = [records[start : start + batch] for start in range(0, 6, batch)]
        fails = pytest.raises(FullDiskError, match=r"a.jsonl: the disk is full -> make room")
        with fails if room < len(whole) else nullcontext():
            for some in batches:
                file.append(some)
    stands = whole[:room].rfind(b"\n") + 1
    assert path.read_bytes() == whole[:stands]
    with jsonl.Appender(path) as file:
        file.append(records[whole[:stands].count(b"\n") :])
    assert path.read_bytes() == whole


LIMITED = """
import resource, sys
from pathlib import Path
from lidr.errors import FullDiskError
from lidr.synthesis import generate
from tests.synthesis.make import SAMPLING, FakeEngine, answer, prompts
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    generate(prompts(40), FakeEngine(answer), SAMPLING, Path(sys.argv[1]))
except FullDiskError as error:
    sys.exit(str(error))
"""


def test_a_file_that_may_not_grow_is_a_line_and_the_same_call_goes_on(tmp_path: Path) -> None:
    """The operating system's own refusal, by a limit of 2,000 bytes a file."""
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(out), "2000"], capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith(f"{out}/en.jsonl: the file may not grow any further here -> make room")
    assert "Traceback" not in done.stderr
    stands = (out / "en.jsonl").read_bytes()
    assert stands.endswith(b"\n")
    assert 0 < len(stands) <= 2000
    engine = FakeEngine(answer)
    generate(prompts(40), engine, SAMPLING, out)
    generate(prompts(40), FakeEngine(answer), SAMPLING, tmp_path / "whole")
    assert folder_bytes(out) == folder_bytes(tmp_path / "whole")
    assert len(engine.seen) == 80 - stands.count(b"\n")


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
def test_no_room_for_the_file_in_order_loses_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """fsync fails on an append first, where answers are appended in the order of their prompts or not."""
    monkeypatch.setattr(call, no_room)
    with pytest.raises(FullDiskError, match=r"en.jsonl: the disk is full"):
        generate(prompts(5, ("en",)), FakeEngine(answer), SAMPLING, tmp_path / "out")
    monkeypatch.undo()
    assert len(list(jsonl.read(tmp_path / "out" / "en.jsonl"))) == 5
    assert not list(tmp_path.rglob("*.tmp"))
    generate(prompts(5, ("en",)), FakeEngine(answer, dies_after=0), SAMPLING, tmp_path / "out")
    assert [r["id"] for r in jsonl.read(tmp_path / "out" / "en.jsonl")] == [f"p{i}" for i in range(5)]


def test_another_fault_of_a_write_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), whole_file(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "denied")


def test_a_log_without_room_is_silent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to(Path("/dev/full")):
        logging.getLogger("lidr").info("finds no room")
    assert "finds no room" in caplog.text
    assert "Logging error" not in capsys.readouterr().err  # what logging says of a handler that raises


class Crashing:
    """An engine that a fault of its own ends after three answers."""

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        yield from FakeEngine(answer, dies_after=1).stream(requests, sampling, done)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return compose_run(
        ["experiment=lab", "languages.non_dominant=[es]", "languages.unseen=[]", "prompts.limit=5",
         "evaluation=[]", "tracking=none", f"paths.outputs={tmp_path}/outputs"]
    )  # fmt: skip


def test_a_crash_of_the_engine_is_a_line_that_names_its_log(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "load_engine", lambda *_: Crashing())
    root = RunDirectory.of(config).root
    with pytest.raises(StageError) as error:
        run(config)
    assert str(error.value) == (
        f"{root}/log.txt: iteration-1/responses failed (KilledError)"
        " -> see the traceback there; run the same command again, it goes on from what is finished"
    )
    assert error.value.exit_code == 1
    assert "Traceback" in (root / "log.txt").read_text()
    assert len(list(jsonl.read(root / "iteration-1" / "responses" / "en.jsonl"))) == 3


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [
        (RuntimeError("device gone\nmore"), CRASHED, "iteration-1/responses failed (RuntimeError: device gone) ->"),
        (OSError(errno.ENOSPC, "No space", "model/a"), CRASHED, "model/a: the disk is full -> make room"),
        (LidrError("no good", where="here", instead="mend it"), REFUSED, "here: no good -> mend it"),
    ],
)  # fmt: skip
def test_a_stages_process_leaves_its_error_as_a_line(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, fault: Exception, code: int, line: str
) -> None:
    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(processes, "ensure", fail)
    monkeypatch.setattr(processes, "die_with_parent", lambda _: None)
    directory = RunDirectory.of(config)
    directory.open(config)
    assert processes.main(str(directory.root), RESPONSES.name) == code
    left = error_file(directory, RESPONSES).read_text()
    assert line in left
    assert len(left.splitlines()) == 1
    log = (directory.root / "log.txt").read_text()
    assert ("Traceback" in log) == (code == CRASHED)


def test_a_stages_process_that_finds_no_room_for_its_error_says_so_by_its_exit_code(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(FullDiskError):
        write_text(tmp_path / "a", "b")
    error, path = LidrError("no good"), tmp_path / "error.tmp"
    assert processes._leave(error, path, REFUSED) == FULL_DISK
    assert not path.exists()
    monkeypatch.undo()
    directory = RunDirectory.of(config)
    directory.open(config)
    ends_so = [sys.executable, "-c", f"raise SystemExit({FULL_DISK})"]
    monkeypatch.setattr(processes, "command", lambda *_: ends_so)
    with pytest.raises(StageError, match="the disk is full -> make room"):
        processes.run_stage(RESPONSES, directory, config.trainer, lambda: None)
