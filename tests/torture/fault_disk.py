"""A disk without room: at every write in turn, and a small one in truth; folders that may only be read."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.torture import fault, forked
from tests.torture.fault import ROOM, WORDS, Fault, a_folder, finished, judged
from tests.torture.full_disk import Disk


def writes(points: int) -> Iterator[Fault]:
    """Every call that needs room finds none, and none after it; of a third of them, only that one finds none."""
    calls = _calls()
    chosen = _sample(len(calls), points)
    for number in chosen:
        yield _full_from(number, None, f"no room from call {number}, {calls[number - 1]}")
    for number in chosen[:: 3 if points else 1]:
        yield _full_from(number, 1, f"no room at call {number} alone, {calls[number - 1]}")


def _sample(count: int, points: int) -> list[int]:
    every = list(range(1, count + 1))
    return every if not points else sorted(random.Random(0).sample(every, min(points, count)))


def _calls() -> list[str]:
    with a_folder() as folder, (folder / "calls").open("wb") as record:
        disk = Disk(folder / "outputs", record=record.fileno())
        ended = fault.run(folder, before=disk.mount)
        if ended.code != 0:
            raise RuntimeError(ended.err)
        return (folder / "calls").read_text().splitlines()


def _full_from(number: int, refusals: int | None, name: str) -> Fault:
    with a_folder() as folder:
        disk = Disk(folder / "outputs", number, refusals)
        met = fault.run(folder, before=disk.mount)
        is_there = refusals == 1 and ", mkdir " in name  # of a folder that another call has made, or makes
        return judged(name, folder, met, ROOM, may_pass=is_there or "log.txt" in name)


_SIZES = (*range(16, 128, 4), 256, 512, 1024, 4096, 8192, 12288, 13312, 14336, 15360, 16384)  # kB
_ROOMY = "size=128m"
_READ_ONLY = r"cannot be used \(Read-only file system\) ->"


def small_disks(_: int) -> Iterator[Fault]:
    """File systems in memory that run full in truth: also what writes tensors finds no room."""
    if not _may_mount():
        return
    for size in _SIZES:
        with a_folder() as folder, _mounted(folder / "outputs", f"size={size}k") as disk:
            met = fault.run(folder)

            def mend(folder: Path = folder, disk: Path = disk) -> forked.Ended:
                _remount(disk, _ROOMY)
                return fault.run(folder)

            yield judged(f"a disk of {size} kB", folder, met, ROOM, mend)


def read_only(_: int) -> Iterator[Fault]:
    """Folders that may only be read: before a run, in its middle, after it; and the caches of libraries."""
    if not _may_mount():
        return
    begun = ("iteration-1/pairs", "iteration-1/training", "iteration-1/evaluation")
    for name, undone in {"nothing is done": None, "a run has begun": begun, "a run is done": ()}.items():
        with a_folder() as folder, _mounted(folder / "outputs", _ROOMY) as disk:
            if undone is not None:
                finished(*undone)(folder)
            _remount(disk, "ro")
            met = fault.run(folder)

            def mend(folder: Path = folder, disk: Path = disk) -> forked.Ended:
                _remount(disk, "rw")
                return fault.run(folder)

            yield judged(f"outputs are read-only, {name}", folder, met, _READ_ONLY, mend)
    yield from _looked_at()
    yield from _caches()


def _looked_at() -> Iterator[Fault]:
    """Runs on a file system that may only be read can be looked at; only what is written there is refused."""
    commands = {
        "status": (["status", "outputs"], None),
        "report elsewhere": (["report", "outputs", "--out", "report"], None),
        "report beside it": (["report", "outputs"], _READ_ONLY),
        "judge": (["judge", "outputs", "judge=[oracle]", "cache=replies.sqlite"], _READ_ONLY),
    }
    for name, (words, says) in commands.items():
        with a_folder() as folder, _mounted(folder / "outputs", _ROOMY) as disk:
            run = finished()(folder)
            if name == "status":
                (run / "status.json").write_text('{"status": "running", "pid": 1}')
            _remount(disk, "ro")
            met = forked.typed(words, folder)

            def mend(folder: Path = folder, disk: Path = disk) -> forked.Ended:
                _remount(disk, "rw")
                return fault.run(folder)

            passes = says is None
            yield judged(f"{name} of a read-only run", folder, met, says or "nothing", mend, may_pass=passes)


def _caches() -> Iterator[Fault]:
    """The home and cache folders of libraries are read-only and empty: a run does not need them."""
    with a_folder() as folder, _mounted(folder / "home", _ROOMY) as home:
        _remount(home, "ro")
        names = (
            "HOME",
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "HF_HOME",
            "MPLCONFIGDIR",
            "TORCHINDUCTOR_CACHE_DIR",
        )
        done = subprocess.run(
            [sys.executable, "-m", "lidr", "run", *WORDS],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | dict.fromkeys(names, str(home)),
            capture_output=True,
            text=True,
            check=False,
        )
        met = forked.Ended(done.returncode, done.stdout, done.stderr)
        yield judged("the caches are read-only", folder, met, "nothing", may_pass=True)


def _may_mount() -> bool:
    with a_folder() as folder:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, check=False
        )
        if done.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)
    if done.returncode:
        sys.stdout.write("left out: file systems cannot be mounted here (it takes root)\n")
    return done.returncode == 0


@contextmanager
def _mounted(place: Path, options: str) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)
