"""Processes side by side: one that dies starts again alone, one that dies in vain ends all of them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from lidr.children import CRASHED, FULL_DISK, REFUSED
from lidr.errors import StageError
from lidr.supervise import Work, supervise

# Appends `count` lines to a file that holds fewer than `whole`; ends as told, or well where the file is whole.
SCRIPT = """
import os, signal, sys, time
folder, count, whole, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
os.makedirs(folder, exist_ok=True)
path = os.path.join(folder, "a.jsonl")
there = sum(1 for _ in open(path)) if os.path.exists(path) else 0
with open(path, "a") as file:
    for _ in range(min(count, whole - there)):
        file.write("{}\\n")
with open(os.path.join(folder, "pids"), "a") as file:
    file.write(f"{os.getpid()}\\n")
if there + count < whole:
    if end == "sleep":
        time.sleep(600)
    if end.isdigit():
        open(os.path.join(folder, "error.tmp"), "w").write("data:1: no good -> mend it\\n")
        sys.exit(int(end))
    os.kill(os.getpid(), getattr(signal, end))
"""


def work(folder: Path, number: int, count: int, whole: int, end: str) -> Work:
    own = folder / str(number)
    return Work(
        name=f"process {number}",
        command=[sys.executable, "-ISc", SCRIPT, str(own), str(count), str(whole), end],
        environment=dict(os.environ),
        folder=own,
        error_file=own / "error.tmp",
        log_file=folder / f"log-{number}.txt",
    )


def pids(folder: Path, number: int) -> list[int]:
    """Of every start of a process."""
    return [int(line) for line in (folder / str(number) / "pids").read_text().splitlines()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_dies_is_started_again_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Three records a start, ten in all: it dies three times, never in vain."""
    seen: list[int] = []
    with caplog.at_level("INFO"):
        supervise([work(tmp_path, 0, 3, 10, "SIGKILL"), work(tmp_path, 1, 5, 5, "SIGKILL")], seen.append)
    assert sum(seen) == 15
    assert len(pids(tmp_path, 0)) == 4
    (only,) = pids(tmp_path, 1)
    assert f"process 1: started as {only}" in caplog.text
    assert caplog.text.count("process 0: ended after 3 records (by signal SIGKILL") == 3


@pytest.mark.parametrize("end", ["SIGKILL", "SIGSEGV"])
def test_a_process_that_always_dies_ends_the_others_and_is_one_line(tmp_path: Path, end: str) -> None:
    with pytest.raises(StageError) as error:
        supervise([work(tmp_path, 0, 1, 9, "sleep"), work(tmp_path, 1, 0, 9, end)], lambda _: None)
    starts = pids(tmp_path, 1)
    assert len(starts) == 3
    assert f"process 1, started again 2 times without a new record, ended by signal {end}" in str(error.value)
    assert str(tmp_path / "log-1.txt") in str(error.value)
    assert "\n" not in str(error.value)
    (other,) = pids(tmp_path, 0)
    assert not any(map(is_alive, [other, *starts]))


@pytest.mark.parametrize("code", [REFUSED, FULL_DISK])
def test_an_error_in_its_own_words_ends_all_at_once(tmp_path: Path, code: int) -> None:
    works = [work(tmp_path, 0, 1, 9, "sleep"), work(tmp_path, 1, 0, 9, str(code))]
    with pytest.raises(StageError) as error:
        supervise(works, lambda _: None)
    assert str(error.value) == "data:1: no good -> mend it"
    assert len(pids(tmp_path, 1)) == 1


def test_a_crash_may_pass_and_else_says_what_it_was(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"^data:1: no good -> mend it$"):
        supervise([work(tmp_path, 0, 0, 9, str(CRASHED))], lambda _: None)
    assert len(pids(tmp_path, 0)) == 3


def test_an_error_after_records_may_pass(tmp_path: Path) -> None:
    supervise([work(tmp_path, 0, 4, 8, str(REFUSED))], lambda _: None)
    assert len(pids(tmp_path, 0)) == 2


def test_a_full_disk_is_named_without_a_word_of_the_process(tmp_path: Path) -> None:
    quiet = work(tmp_path, 0, 0, 1, str(FULL_DISK))
    quiet = Work(**{**vars(quiet), "error_file": tmp_path / "elsewhere.tmp"})
    with pytest.raises(StageError, match="the disk is full -> make room"):
        supervise([quiet], lambda _: None)


def test_an_interrupted_parent_ends_them(tmp_path: Path) -> None:
    def interrupt(new: int) -> None:
        if (tmp_path / "0" / "pids").exists():
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            supervise([work(tmp_path, 0, 1, 9, "sleep")], interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not any(map(is_alive, pids(tmp_path, 0)))
