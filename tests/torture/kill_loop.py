"""A loop that is killed again and again, and started again with the same commands until it is done."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.case import ROOT
from tests.torture.hook import sitecustomize as hook
from tests.torture.kill_checks import Standing
from tests.torture.kill_plan import Kill, Plan, Write, kind_of
from tests.torture.started import TIMED_OUT, Started

CHECKPOINT_STEPS = 2
BETAS = (0.1, 0.5)  # of twins: until the first training they do the same
_RUN = (
    "experiment=lab", "languages.non_dominant=[es]", "languages.unseen=[]", "prompts.limit=12",
    "evaluation.lab.prompts.limit=4", "engine.batch_size=4", "training.global_batch=2",
    f"training.checkpoint_steps={CHECKPOINT_STEPS}", "trainer.precision=fp32", "tracking=offline",
)  # fmt: skip
_JUDGE = ("judge=[reader]", "threads=1", "tasks=[comparisons,pairs]")
_READER = """\
# @package judges.reader
# The lab's model reads two answers; what it says is a text of digits, whatever it means.
defaults:
  - /engine@engine: transformers
  - /wording@wording: words
  - _self_
kind: engine
verdict: text
engine:
  batch_size: 4
  sampling:
    max_new_tokens: 8
    repetition_penalty: 1.0
wording:
  comparison: "{prompt} {answer_1} {answer_2}"
  comparison_pattern: "([0-9])"
model:
  name: reader
  path: builtin:lab
  revision: null
  precision: fp32
  system_prompt: null
lab: null
"""
_PATIENCE = 240.0
_REFUSED = re.compile(r"another process \(pid (\d+) on host \S+, since [^)]+\) works in this run")
_SHOWN_TRACEBACKS = ("Traceback", "Logging error", "see the traceback")

Starter = Callable[[Sequence[str], Path, dict[str, str], Path, Path], Started]


def prepare(place: Path) -> None:
    """The folder in which loops are typed."""
    judges = place / "conf" / "judge"
    judges.mkdir(parents=True, exist_ok=True)
    (judges / "reader.yaml").write_text(_READER)


def commands(number: int, run: str, plan: Plan | None = None, pairs: str = "lidr") -> list[list[str]]:
    """What is typed, one after the other; `run` is the run's folder, `pairs` the loop's preset of them."""
    processes = "separate" if plan is not None and plan.separate else "inline"
    shards = 1 if plan is None else plan.shards
    words = [
        *_RUN,
        f"pairs={pairs}",
        f"objective.beta={BETAS[number]}",
        f"processes={processes}",
        f"engine.processes={shards}",
    ]
    return [["run", *words], ["judge", run, *_JUDGE]]


@dataclass
class Landed:
    """A kill that happened. at: the write before it. kind: what that was of."""

    kill: Kill
    at: str
    kind: str
    stage: str


@dataclass
class Told:
    """What came of a loop."""

    kills: list[Landed] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    refused: int = 0


class Loop:
    """One loop in a folder it may share with another."""

    def __init__(self, place: Path, number: int, words: list[list[str]], start: Starter, run: str) -> None:
        self.place, self.number, self.words, self.start = place, number, words, start
        self.run = place / run
        self.attempts = 0
        self.told = Told()

    def tortured(self, kills: Sequence[Kill], rival: bool) -> Generator[None, None, None]:
        """Goes on as far as it can, then lets others; ends when the loop is done."""
        for command in range(len(self.words)):
            own = [kill for kill in kills if kill.command == command]
            if not (yield from self.done(command, own, rival)):
                return

    def done(self, command: int, kills: list[Kill], rival: bool = False) -> Generator[None, None, bool]:
        """One command until it ends well, killed on the way; False where it ends otherwise."""
        while True:
            kill = kills.pop(0) if kills else None
            before = Standing.of(self.run)
            code = yield from self._attempt(command, kill, rival)
            self.told.lost += before.lost(Standing.of(self.run), CHECKPOINT_STEPS)
            happened = kill is not None and self._fired.exists()
            if code == 0 and not (happened and kills):
                return True
            if code != 0 and not happened:
                self.told.lost.append(f"{self._named()}: ended with exit code {code}: {self._error()}")
                return False

    def writes(self, command: int) -> list[Write]:
        """Of the last attempt."""
        found = []
        for line in self._log.read_text().splitlines():
            _, _, event, name = line.split(" ", 3)
            found.append(Write(command, event, name))
        return found

    def _attempt(self, command: int, kill: Kill | None, rival: bool) -> Generator[None, None, int]:
        self.attempts += 1
        started = self._started(command, kill)
        if rival and command == 0 and kill is not None:
            yield from self._second(started)
        ends = time.monotonic() + _PATIENCE
        while (code := started.poll()) is None and time.monotonic() < ends:
            yield
        if code is None:
            started.kill()
            code = TIMED_OUT
        self._judge_output(self._file("err"), self._named())
        self._note(kill)
        return code

    def _started(self, command: int, kill: Kill | None, suffix: str = "") -> Started:
        told = {
            "root": str(self.place),
            "log": str(self._file(f"events{suffix}")),
            "fired": str(self._file(f"fired{suffix}")),
            "aim": None if kill is None else kill.told(),
        }
        for name in ("events", "fired"):
            self._file(f"{name}{suffix}").unlink(missing_ok=True)
        variables = {hook.VARIABLE: json.dumps(told), "PYTHONPATH": f"{hook.FOLDER}{os.pathsep}{ROOT}"}
        return self.start(
            self.words[command], self.place, variables, self._file(f"out{suffix}"), self._file(f"err{suffix}")
        )

    def _second(self, first: Started) -> Generator[None, None, None]:
        """Another loop, started by mistake while the first one works."""
        while first.poll() is None and "status.json" not in _text(self._log):
            yield
        if first.poll() is not None:
            return
        second = self._started(0, None, "-second")
        while (code := second.poll()) is None:
            yield
        error = _text(self._file("err-second"))
        self._judge_output(self._file("err-second"), f"{self._named()}, second")
        named = _REFUSED.search(" ".join(error.split()))
        if named and int(named[1]) == first.pid and code != 0:
            self.told.refused += 1
        elif first.poll() is None:
            self.told.lost.append(
                f"{self._named()}: a second loop ended with exit code {code}: {error[-300:]}"
            )

    def _note(self, kill: Kill | None) -> None:
        lines = [line.split(" ", 3) for line in _text(self._log).splitlines()]
        self.told.lost += [f"{name}: asked for twice" for _, _, event, name in lines if event == "TWICE"]
        fired = next((i for i, line in enumerate(lines) if line[2] == "KILL"), None)
        if kill is None or fired is None:
            return
        own = [line for line in lines[:fired] if line[0] == lines[fired][0]] or lines[:fired]
        at = f"{own[-1][2]} {own[-1][3]}" if own else "its start"
        status = json.loads(_text(self.run / "status.json") or "{}")
        kind = kind_of(own[-1][3]) if own else "start"
        self.told.kills.append(Landed(kill, at, kind, status.get("stage") or "-"))

    def _judge_output(self, err: Path, named: str) -> None:
        shown = _text(err) + _text(err.with_name(err.name.replace("err", "out")))
        found = [word for word in _SHOWN_TRACEBACKS if word in shown]
        if found:
            self.told.tracebacks.append(f"{named}: {found[0]}: {shown[-2000:]}")

    def _error(self) -> str:
        return _text(self._file("err"))[-500:]

    def _named(self) -> str:
        return f"loop {self.number}, attempt {self.attempts}"

    @property
    def _log(self) -> Path:
        return self._file("events")

    @property
    def _fired(self) -> Path:
        return self._file("fired")

    def _file(self, name: str) -> Path:
        """Beside the place, where nothing counts."""
        return self.place.with_name(f"{self.place.name}-{self.number}-{name}")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def left_behind(place: Path) -> list[str]:
    """Processes of lidr that still work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                where = (entry / "cwd").readlink()
            except OSError:
                continue
            if where == place and "lidr" in words and int(entry.name) != os.getpid():
                found.append(f"{entry.name} {words[:200]}")
    return found
