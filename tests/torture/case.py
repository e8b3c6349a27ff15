"""What a malformed input is, and how it is judged: in this process, or through the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, chdir
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from lidr.errors import LidrError
from lidr.files import unusable

ROOT = Path(__file__).parents[2]
LONGEST = 4000  # characters of an error
_SILENT = ("Traceback", "Logging error", "see the traceback")
_ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Given:
    """An input on disk.

    words: what is typed after `lidr`.
    call: the same entry point in this process.
    cwd: where it is typed.
    variables: of the environment.
    """

    words: Sequence[str]
    call: Callable[[], object]
    cwd: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """One malformed input.

    prepare: writes it into an empty folder; what it opens goes onto the stack.
    says: what the error says, as a regular expression; None: it works.
    shows: what the output of one that works says, as a regular expression.
    slow: too slow for the tests of every day.
    code: exit code of one that works; `lidr status` tells of a failed run by 1.
    """

    name: str
    prepare: Callable[[Path, ExitStack], Given]
    says: str | None = None
    shows: str = ""
    slow: bool = False
    code: int = 0


@dataclass(frozen=True)
class Result:
    """What came of a case. faults: what is wrong with it, empty where nothing is."""

    code: int
    line: str
    faults: tuple[str, ...]

    @property
    def has_traceback(self) -> bool:
        return any(fault.startswith(("a traceback", "crashed")) for fault in self.faults)


def here(case: Case, folder: Path) -> Result:
    """The case in this process."""
    with ExitStack() as stack:
        given = case.prepare(folder, stack)
        stack.enter_context(chdir(given.cwd or folder))
        stack.enter_context(patch.dict(os.environ, given.variables))
        try:
            given.call()
        except LidrError as error:
            return judged(case, error.exit_code, "", str(error))
        except OSError as error:
            problem = unusable(error)
            if problem is None:
                return Result(1, str(error), (f"crashed: {type(error).__name__}",))
            return judged(case, problem.exit_code, "", str(problem))
        except Exception as error:
            return Result(1, f"{type(error).__name__}: {error}"[:200], (f"crashed: {type(error).__name__}",))
        return judged(case, 0, "", "", shown=False)


def typed(case: Case, folder: Path, seconds: float = 300.0) -> Result:
    """The case through the command line, in a process of its own."""
    with ExitStack() as stack:
        given = case.prepare(folder, stack)
        done = subprocess.run(
            [sys.executable, "-m", "lidr", *given.words],
            cwd=given.cwd or folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **given.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=seconds,
        )
    out, err = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
    return judged(case, done.returncode, out, err)


def judged(case: Case, code: int, out: str, err: str, shown: bool = True) -> Result:
    """What is wrong with the outcome of a case, which exit code and output show."""
    faults = [f"a traceback ({word})" for word in _SILENT if word in err + out]
    faults += ["characters that act on a terminal"] if _ACTIVE.search(err + out) else []
    if case.says is None:
        faults += [f"exit code {code}, not {case.code}"] if shown and code != case.code else []
        faults += [f"does not show {case.shows!r}"] if shown and not re.search(case.shows, out) else []
    else:
        faults += [] if code in (1, 2) else [f"exit code {code}, not 1 or 2"]
        faults += [] if re.search(case.says, err) else [f"does not say {case.says!r}"]
        faults += [] if "->" in err else ["does not say what to type instead"]
        faults += [f"an error of {len(err)} characters"] if len(err) > LONGEST else []
    return Result(code, _line(case, err), tuple(faults))


def _line(case: Case, err: str) -> str:
    """The line of an error that a person reads first: the one that says what is expected, else the last."""
    lines = [line for line in err.splitlines() if line.strip()]
    found = [line for line in lines if case.says is not None and re.search(case.says, line)]
    return (found[-1] if found else lines[-1] if lines else "")[:300]


def show(code: int, name: str, said: str, faults: Sequence[str]) -> None:
    """A campaign's line: the exit code, what was tried, what was said, and what is wrong where something is."""
    line = said.encode("ascii", "backslashreplace").decode()
    sys.stdout.write(f"{code:>3}  {name}  |  {line}\n")
    for fault in faults:
        sys.stdout.write(f"     WRONG: {fault}\n")
    sys.stdout.flush()
