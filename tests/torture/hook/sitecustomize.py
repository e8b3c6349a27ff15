"""In every Python process of a loop that is tortured: notes what it writes, and kills where it is told to.

Python imports a module of this name at its start; `LIDR_TORTURE` tells it what to do, as JSON:

    root   the folder whose files count
    log    where a line goes for each write: pid, loop or stage, event, name below the root
    fired  a file that exists once the kill has happened; null: none is wanted
    aim    process: loop, stage or any. event and name: after the nth write of this kind; null: from the start.
           delay: seconds from then on. target: group, parent or self
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

VARIABLE = "LIDR_TORTURE"
FOLDER = Path(__file__).absolute().parent
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "sqlite3.connect")
_ASKED = re.compile(r"/(responses|translations|evaluation|judging)/(?!.*outcomes).*\.jsonl$")
_ATTEMPT = re.compile(r"(offline-run|run)-\d{8}_\d{6}-")


class Hook:
    """Of one process."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.root, self.fired, self.aim = told["root"], told["fired"], told["aim"]
        self.process = "stage" if "lidr.processes" in sys.orig_argv else "loop"
        self.log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.met, self.pid = 0, os.getpid()
        if self.aim is not None and self.aim["event"] is None and self._is_meant():
            self._count_down()
        sys.addaudithook(self)

    def _is_meant(self) -> bool:
        return self.aim["process"] in (self.process, "any") and not Path(self.fired).exists()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS or os.getpid() != self.pid or (event == "open" and not _writes(arguments)):
            return
        name = self._name(arguments[0], _folder(event, arguments))
        if name is None:
            return
        self._note(event, name)
        if event == "os.rename":
            self._refuse_twice(arguments)
        aim = self.aim
        if aim is not None and (aim["event"], aim["name"]) == (event, name) and self._is_meant():
            self.met += 1
            if self.met == aim["nth"]:
                self._count_down() if aim["delay"] else self._fire()

    def _name(self, path: object, folder: int = -1) -> str | None:
        """Below the root, the same in every attempt; None for a file elsewhere. folder: a descriptor, or none."""
        try:
            base = Path.cwd() if folder < 0 else Path(f"/proc/self/fd/{folder}").readlink()
            text = str(base / os.fsdecode(path))  # type: ignore[arg-type]
        except (TypeError, OSError):  # a descriptor; a folder that is gone
            return None
        if not text.startswith(self.root + os.sep):
            return None
        return _ATTEMPT.sub(r"\1-", text[len(self.root) + 1 :])

    def _note(self, event: str, name: str) -> None:
        os.write(self.log, f"{self.pid} {self.process} {event} {name}\n".encode("utf-8", "replace"))

    def _refuse_twice(self, arguments: tuple[Any, ...]) -> None:
        """Before records are put in order: the same one twice was asked for twice."""
        target = Path(os.fsdecode(arguments[1]))
        if _ASKED.search(str(target)) and target.exists():
            lines = target.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            keys = [_key(line) for line in lines if line.endswith("\n")]
            if len(set(keys)) < len(keys):
                self._note("TWICE", self._name(target) or str(target))

    def _count_down(self) -> None:
        def fire() -> None:
            time.sleep(self.aim["delay"])
            self._fire()

        threading.Thread(target=fire, daemon=True).start()

    def _fire(self) -> None:
        try:
            os.close(os.open(self.fired, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:  # another process was faster
            return
        target = self.aim["target"]
        self._note("KILL", target)
        if target == "group":
            os.killpg(os.getpgid(0), signal.SIGKILL)
        elif target == "parent" and self.process == "stage":
            os.kill(os.getppid(), signal.SIGKILL)
        else:
            os.kill(self.pid, signal.SIGKILL)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = (*arguments, None, 0)[:3]
    return any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(flags & _WRITES)


def _folder(event: str, arguments: tuple[Any, ...]) -> int:
    """The descriptor of the folder a name is relative to, -1 where there is none."""
    place = {"os.rename": 2, "os.remove": 1, "os.mkdir": 2, "os.rmdir": 1}.get(event)
    return int(arguments[place]) if place is not None and len(arguments) > place else -1


def _key(line: str) -> object:
    try:
        return json.loads(line).get("id", line)
    except (ValueError, AttributeError):
        return line


def install(told: str) -> None:
    """Does what `LIDR_TORTURE` says from now on."""
    Hook(json.loads(told))


if VARIABLE in os.environ:
    install(os.environ[VARIABLE])
