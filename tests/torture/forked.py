"""A `lidr` command in a copy of this process, which has imported everything: as if typed, but at once."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SECONDS = 300.0
TIMED_OUT = 124


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def warm() -> None:
    """Imports what commands need, before the first copy."""
    from lidr.commands import check, report, run, status  # noqa: F401
    from lidr.evaluation import run as evaluation  # noqa: F401
    from lidr.training import run as training  # noqa: F401


def typed(
    words: Sequence[str],
    cwd: Path,
    variables: Mapping[str, str] | None = None,
    before: Callable[[], object] = lambda: None,
    seconds: float = SECONDS,
) -> Ended:
    """Runs `lidr WORDS` in a copy of this process; `before` is called there first."""
    with tempfile.TemporaryDirectory() as output:
        out, err = Path(output) / "out", Path(output) / "err"
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os._exit(_command(words, cwd, variables or {}, before, out, err))
        code = _waited(child, seconds)
        texts = [path.read_bytes().decode("utf-8", "surrogateescape") for path in (out, err)]
    return Ended(code, *texts)


def _command(
    words: Sequence[str],
    cwd: Path,
    variables: Mapping[str, str],
    before: Callable[[], object],
    out: Path,
    err: Path,
) -> int:
    """What the interpreter does with a command, from its arguments to its exit code."""
    from lidr.__main__ import main as lidr

    for descriptor, path, flags in ((0, Path(os.devnull), os.O_RDONLY), (1, out, os.O_CREAT | os.O_WRONLY),
                                    (2, err, os.O_CREAT | os.O_WRONLY)):  # fmt: skip
        os.dup2(os.open(path, flags), descriptor)
    os.chdir(cwd)
    os.environ.update(variables)
    try:
        before()
        code = lidr(words)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _waited(child: int, seconds: float) -> int:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return TIMED_OUT
