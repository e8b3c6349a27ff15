"""One fault from outside, and how a run that met it is judged."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.test_resume import content
from tests.torture import forked
from tests.torture.forked import Ended
from tests.torture.started import warm_up

WORDS = (
    "experiment=lab", "iterations=1", "prompts.limit=4", "evaluation=[lab]", "evaluation.lab.prompts.limit=4",
    "languages.non_dominant=[es]", "languages.unseen=[]", "tracking=none", "training.checkpoint_steps=1",
    "training.global_batch=2", "trainer.precision=fp32", "trainer.threads=1", "processes=inline",
    "paths.outputs=outputs",
)  # fmt: skip
ROOM = "the disk is full -> make room, then run the same command again"
_TRACEBACK = ("Traceback", "Logging error")


@dataclass(frozen=True)
class Fault:
    """What came of a fault. faults: what is wrong with it; lost: the same command did not end in the same files."""

    name: str
    code: int
    line: str
    faults: tuple[str, ...]
    lost: bool

    @property
    def has_traceback(self) -> bool:
        return any(fault.startswith("a traceback") for fault in self.faults)


def run(folder: Path, *more: str, before: Callable[[], object] = lambda: None) -> Ended:
    """`lidr run` of the small run, in a copy of this process."""
    return forked.typed(["run", *WORDS, *more], folder, before=before)


def root(folder: Path) -> Path | None:
    """The run folder, where there is one."""
    return next((path for path in folder.glob("outputs/lab/*") if path.is_dir()), None)


def warm() -> None:
    """Runs once in this process, so that its copies have all that is read once: detectors, fonts, the lab's model."""
    from lidr.compose import compose_run
    from lidr.loop import run as run_loop

    warm_up()
    with a_folder() as folder:
        run_loop(compose_run([*WORDS[:-1], f"paths.outputs={folder}"]))


@cache
def template() -> Path:
    """A folder with the finished run, made once."""
    place = Path(tempfile.mkdtemp(prefix="lidr-faults-"))
    ended = run(place)
    if ended.code != 0:
        raise RuntimeError(ended.err)
    return place


@cache
def whole() -> dict[str, object]:
    """What the run comes to that meets no fault."""
    return content_of(_root(template()))


def content_of(run: Path) -> dict[str, object]:
    """As `content`, without the logs of processes, what servers were paid, and the ports of those of these tests."""
    found = content(run)
    if isinstance(config := found.get("config.yaml"), bytes):
        found["config.yaml"] = re.sub(rb"(127\.0\.0\.1):\d+", rb"\1", config)
    return {k: v for k, v in found.items() if not k.startswith("log-") and not k.endswith("usage.jsonl")}


@contextmanager
def a_folder() -> Iterator[Path]:
    """An empty one, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="lidr-faults-") as folder:
        yield Path(folder)


def finished(*undone: str) -> Callable[[Path], Path]:
    """Puts a copy of the finished run into a folder, without the manifests of some stages; returns the run's."""

    def copy(folder: Path) -> Path:
        shutil.copytree(template() / "outputs", folder / "outputs", dirs_exist_ok=True)
        for stage in undone:
            (_root(folder) / stage / "stage.json").unlink()
        return _root(folder)

    return copy


def judged(
    name: str,
    folder: Path,
    met: Ended,
    says: str,
    again: Callable[[], Ended] | None = None,
    may_pass: bool = False,
    redone: Sequence[str] = (),
    expected: dict[str, object] | None = None,
) -> Fault:
    """How a command ended that met a fault, and the same command after it.

    Args:
        name: of the fault.
        folder: where it was typed.
        met: how it ended.
        says: what its line says, as a regular expression.
        again: types it once more, the fault mended; by default in this folder.
        may_pass: a fault that nobody need notice, as a log that finds no room.
        redone: stages that are done anew, of those that were finished.
        expected: what the run comes to in the end; by default `whole`.
    """
    faults = [f"a traceback ({word})" for word in _TRACEBACK if word in met.err + met.out]
    line = _line(met, says)
    if met.code == 0:
        faults += [] if may_pass else ["exit code 0"]
    else:
        faults += [] if met.code == 1 else [f"exit code {met.code}, not 1"]
        faults += [] if re.search(says, line) else [f"does not say {says!r}"]
        faults += [] if "->" in line else ["does not say what to do"]
    before = _manifests(folder, redone)
    after = (again or (lambda: run(folder)))()
    lost = [*_differences(folder, after, expected or whole()), *_redone(folder, before)]
    return Fault(name, met.code, line, tuple(faults + lost), bool(lost))


def _line(met: Ended, says: str) -> str:
    lines = [line for line in met.err.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if re.search(says, line)), lines[-1] if lines else "")[:400]


def _root(folder: Path) -> Path:
    found = root(folder)
    if found is None:
        raise RuntimeError(f"no run in {folder}")
    return found


def _manifests(folder: Path, redone: Sequence[str]) -> dict[Path, bytes]:
    paths = folder.glob("outputs/lab/*/iteration-*/*/stage.json")
    return {p: p.read_bytes() for p in paths if f"{p.parent.parent.name}/{p.parent.name}" not in redone}


def _differences(folder: Path, after: Ended, expected: dict[str, object]) -> list[str]:
    if after.code != 0 or (found := root(folder)) is None:
        return [f"the same command again ended with {after.code}: {after.err[-300:]}"]
    ours = content_of(found)
    absent, more = sorted(expected.keys() - ours.keys()), sorted(ours.keys() - expected.keys())
    other = [name for name in ours.keys() & expected.keys() if ours[name] != expected[name]]
    return [
        *([f"missing: {absent[:5]}"] if absent else []),
        *([f"left over: {more[:5]}"] if more else []),
        *([f"other content: {sorted(other)[:5]}"] if other else []),
    ]


def _redone(folder: Path, before: dict[Path, bytes]) -> list[str]:
    return [f"{path.parent} was done again" for path, data in before.items() if path.read_bytes() != data]
