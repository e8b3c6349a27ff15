"""A command that was started: typed, in a process of its own, or in a copy of this process, which has imported all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.torture.case import ROOT

TIMED_OUT = 124


class Started:
    """A process that leads a group of its own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self._code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if done else None
        return self._code

    def wait(self, seconds: float) -> int:
        """The exit code; `TIMED_OUT` where it had to be killed."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if (code := self.poll()) is not None:
                return code
            time.sleep(0.02)
        self.kill()
        return TIMED_OUT

    def kill(self) -> None:
        """Ends the group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.poll() is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def typed(words: Sequence[str], cwd: Path, variables: Mapping[str, str], out: Path, err: Path) -> Started:
    """`lidr WORDS` as when it is typed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **variables}
    with out.open("wb") as output, err.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "lidr", *words],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
    process.returncode = 0  # it is waited for by its id
    return Started(process.pid)


def warm_up() -> None:
    """Imports what commands import, before the first copy; starts no thread."""
    from lidr.commands import check, judge, report, run, status  # noqa: F401
    from lidr.evaluation import run as evaluation  # noqa: F401
    from lidr.judging import run as judging  # noqa: F401
    from lidr.training import run as training  # noqa: F401


def copied(
    words: Sequence[str],
    cwd: Path,
    variables: Mapping[str, str],
    out: Path,
    err: Path,
    prepare: Callable[[], object] = lambda: None,
) -> Started:
    """`lidr WORDS` in a copy of this process; `prepare` is called in it first."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os._exit(_command(words, cwd, variables, out, err, prepare))
    with suppress(PermissionError, ProcessLookupError):  # the child does it as well: whoever is first
        os.setpgid(child, child)
    return Started(child)


def _command(
    words: Sequence[str],
    cwd: Path,
    variables: Mapping[str, str],
    out: Path,
    err: Path,
    prepare: Callable[[], object],
) -> int:
    """What the interpreter does with a command, from its arguments to its exit code."""
    from lidr.__main__ import main as lidr

    os.setpgid(0, 0)
    write = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    for descriptor, path, flags in ((0, Path(os.devnull), os.O_RDONLY), (1, out, write), (2, err, write)):
        os.dup2(os.open(path, flags), descriptor)
    os.chdir(cwd)
    os.environ.update(variables)
    try:
        prepare()
        code = lidr(words)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code
