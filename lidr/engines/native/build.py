"""The engine's own code for a CPU, compiled on this machine when it is first used.

Compiled code cannot lie in the package: it is made for one processor, and takes two seconds. It is kept in the user's
cache folder under a name that says what it was made of, and never in a run's folder. Without a compiler everything
is computed by PyTorch's operators.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

log = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("step.cpp")
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared")
_SECONDS = 120  # for a compiler, at most


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled code, or None where there is none; the reason is logged once."""
    try:
        return _built()
    except (OSError, subprocess.SubprocessError) as error:
        log.info("answers are computed by PyTorch's operators alone, which takes longer: %s", _why(error))
        return None


def _built() -> ctypes.CDLL:
    """Raises:
    OSError, SubprocessError: there is no compiler, it fails, or there is no place for what it makes.
    """
    compiler = _compiler()
    version = _run([compiler, "--version"])
    made_of = "\n".join([_SOURCE.read_text(encoding="utf-8"), *_FLAGS, version, _processor()])
    path = _folder() / f"{hashlib.sha256(made_of.encode()).hexdigest()[:32]}.so"
    if path.is_file() and path.stat().st_uid == os.getuid():
        try:
            return ctypes.CDLL(str(path))
        except OSError:  # cut off, by a full disk or by whoever
            log.info("%s cannot be loaded and is made again", path)
    with TemporaryDirectory() as folder:
        made = Path(folder) / path.name
        _run([compiler, *_FLAGS, str(_SOURCE), "-o", str(made)])
        return ctypes.CDLL(str(_kept(made, path)))


def _compiler() -> str:
    """That of `CXX`, else the first there is; on other systems than Linux compilers take other flags."""
    asked = os.environ.get("CXX")
    names = [asked] if asked else _COMPILERS
    found = next(filter(None, map(shutil.which, names)), None)
    if sys.platform != "linux":
        raise OSError(f"nothing is compiled on {sys.platform}")
    if found is None:
        raise OSError(f"there is no C++ compiler ({', '.join(names)}): install g++, or name one in CXX")
    return found


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lidr" / "native"


def _kept(made: Path, path: Path) -> Path:
    """Where it is kept; where it was made if there is no room for it."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with new.open("wb") as file:
            file.write(made.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        log.info("compiled code is not kept for the next time: %s", error)
        with suppress(OSError):
            new.unlink()
        return made
    return path


def _processor() -> str:
    """What the code is made for: a home folder may be that of several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = ("model name", "flags", "CPU part", "Features")
    return "\n".join([platform.machine(), *dict.fromkeys(line for line in lines if line.startswith(named))])


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=True
    )
    return done.stdout


def _why(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in error.stderr.splitlines() if "error" in line] or [str(error)]
        return f"{error.cmd[0]}: {lines[0]}"
    return str(error)
