"""`python -m tests.torture.kills [--kills N] [--seeds A:B] [--jobs N] [--fork] [--pairs NAME] ...`: killed loops.

A loop of two iterations on the lab, with report, W&B's files and a judge, runs once in peace. Then each seed draws a
loop, or two that share a folder and its caches, and the moments at which they are killed: at any time, or at a write of
a manifest, a checkpoint, a cache and so on; the process group, a single process of a stage, or its parent. The same
commands go on until all is done; then every file is compared. A line a kill; `--out` gets all of them as JSON.

With `--fork` commands are copies of one process that has imported everything; stages in processes of their own are
typed all the same.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.torture.hook import sitecustomize as hook
from tests.torture.kill_checks import Content, Mirrored, content, differences
from tests.torture.kill_loop import BETAS, Loop, Starter, Told, commands, left_behind, prepare
from tests.torture.kill_plan import Plan, Write
from tests.torture.started import copied, typed, warm_up

_LINGER = 5.0  # seconds that processes have to follow a parent that was killed


@dataclass(frozen=True)
class Whole:
    """A loop that nobody killed. run: its folder. mirror: its W&B files. pairs: the preset of its pairs."""

    run: str
    files: Content
    mirror: Mirrored
    writes: list[Write]
    seconds: float
    pairs: str = "lidr"


@dataclass
class Outcome:
    """Of one seed."""

    plan: Plan
    told: list[Told] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def all_lost(self) -> list[str]:
        return [*(line for told in self.told for line in told.lost), *self.lost]

    @property
    def tracebacks(self) -> list[str]:
        return [line for told in self.told for line in told.tracebacks]

    def to_json(self) -> dict[str, Any]:
        kills = [asdict(kill) | {"loop": n} for n, told in enumerate(self.told) for kill in told.kills]
        return {**asdict(self.plan), "kills": kills, "lost": self.all_lost, "tracebacks": self.tracebacks}


def main() -> int:
    """Runs the campaign; 1 where something was lost or a traceback shown."""
    arguments = _arguments()
    seeds, enough = _seeds(arguments)
    start: Starter = typed
    if arguments.fork:
        warm_up()
        start = partial(copied, prepare=lambda: hook.install(os.environ[hook.VARIABLE]))
    with _folder(arguments.keep) as folder:
        wholes = [in_peace(folder / f"whole-{n}", n, start, arguments.pairs) for n in range(len(BETAS))]
        keep_common(wholes)
        _say(f"in peace: {len(wholes[0].files)} files, {wholes[0].seconds:.1f} s")
        outcomes = list(_side_by_side(seeds, enough, wholes, start, folder, arguments.jobs))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps([outcome.to_json() for outcome in outcomes], indent=1) + "\n")
    return _summed(outcomes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.kills")
    parser.add_argument("--kills", type=int, default=200, help="how many at least")
    parser.add_argument("--seeds", help="A:B, in place of --kills")
    parser.add_argument("--only", type=int, help="one seed again")
    parser.add_argument("--jobs", type=int, default=2, help="seeds at the same time")
    parser.add_argument("--fork", action="store_true", help="commands are copies of one process")
    parser.add_argument("--out", type=Path, help="a JSON file of all kills")
    parser.add_argument("--pairs", default="lidr", help="the loops' preset of pairs, such as mapo_lab")
    parser.add_argument("--keep", type=Path, help="a folder in which everything stays")
    return parser.parse_args()


def _seeds(arguments: argparse.Namespace) -> tuple[Iterator[int], float]:
    """The seeds, and how many kills are enough: not every one that is drawn comes before its loop is done."""
    if arguments.only is not None:
        return iter([arguments.only]), math.inf
    if arguments.seeds:
        first, _, end = arguments.seeds.partition(":")
        return iter(range(int(first), int(end))), math.inf
    return itertools.count(), arguments.kills


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="lidr-kills-") as folder:
        yield Path(folder).resolve()


def in_peace(place: Path, number: int, start: Starter, pairs: str = "lidr") -> Whole:
    """The loop that nobody kills.

    Raises:
        RuntimeError: it does not end well.
    """
    prepare(place)
    words = commands(number, "outputs/lab", pairs=pairs)
    loop = Loop(place, number, words, start, "outputs")
    writes: list[Write] = []
    started = time.monotonic()
    for command in range(len(words)):
        for _ in loop.done(command, []):
            time.sleep(0.01)
        writes += loop.writes(command)
    if loop.told.lost or loop.told.tracebacks:
        raise RuntimeError("\n".join([*loop.told.lost, *loop.told.tracebacks]))
    (run,) = (path.parent for path in place.glob("outputs/lab/*/config.yaml"))
    seconds = time.monotonic() - started
    files = content(place / "outputs")
    return Whole(str(run.relative_to(place)), files, Mirrored.of(run), writes, seconds, pairs)


def keep_common(wholes: Sequence[Whole]) -> None:
    """Keeps the writes of files that have their names in every loop: others would be aimed at in vain."""
    names = [{write.name.replace(whole.run, "") for write in whole.writes} for whole in wholes]
    common = set.intersection(*names)
    for whole in wholes:
        whole.writes[:] = [write for write in whole.writes if write.name.replace(whole.run, "") in common]


def _side_by_side(
    seeds: Iterator[int], enough: float, wholes: Sequence[Whole], start: Starter, folder: Path, jobs: int
) -> Iterator[Outcome]:
    landed, running = 0, list[tuple[Outcome, Generator[None, None, None]]]()
    while True:
        while len(running) < jobs and landed < enough and (seed := next(seeds, None)) is not None:
            outcome = Outcome(Plan.of(seed))
            running.append((outcome, _tortured(outcome, wholes, start, folder)))
        if not running:
            return
        for entry in list(running):
            if next(entry[1], StopIteration) is StopIteration:
                running.remove(entry)
                landed += sum(len(told.kills) for told in entry[0].told)
                _show(entry[0])
                yield entry[0]
        time.sleep(0.01)


def _tortured(
    outcome: Outcome, wholes: Sequence[Whole], start: Starter, folder: Path
) -> Generator[None, None, None]:
    plan, place = outcome.plan, folder / f"seed-{outcome.plan.seed}"
    prepare(place)
    loops = [
        Loop(place, n, commands(n, whole.run, plan, whole.pairs), start, whole.run)
        for n, whole in enumerate(wholes[: plan.loops])
    ]
    outcome.told = [loop.told for loop in loops]
    running = [
        loop.tortured(plan.kills(n, wholes[n].writes, wholes[n].seconds), plan.rival)
        for n, loop in enumerate(loops)
    ]
    while running:
        running = [each for each in running if next(each, StopIteration) is not StopIteration]
        yield
    ends = time.monotonic() + _LINGER
    while (alive := left_behind(place)) and time.monotonic() < ends:
        yield
    outcome.lost += [f"a process is left behind: {line}" for line in alive]
    outcome.lost += _compared(place, wholes[: plan.loops])
    if not outcome.all_lost and not outcome.tracebacks:
        shutil.rmtree(place)


def _compared(place: Path, wholes: Sequence[Whole]) -> Iterator[str]:
    expected: Content = {}
    for whole in wholes:
        for name, value in whole.files.items():
            both = name.endswith(".sqlite") and name in expected
            expected[name] = sorted({*expected[name], *value}) if both else value  # type: ignore[misc]
    yield from differences(expected, content(place / "outputs"))
    for whole in wholes:
        yield from whole.mirror.lost(Mirrored.of(place / whole.run))


def _show(outcome: Outcome) -> None:
    plan = outcome.plan
    words = [name for name in ("separate", "rival") if getattr(plan, name)]
    words += ["twins"] if plan.loops > 1 else []
    words += [f"{plan.shards} shards"] if plan.shards > 1 else []
    _say(f"seed {plan.seed}: {' '.join(words) or 'one process'}")
    for number, told in enumerate(outcome.told):
        for kill in told.kills:
            _say(f"  loop {number}  {kill.stage:<24} {kill.kind:<10} killed: {kill.kill}; after {kill.at}")
    for line in outcome.all_lost:
        _say(f"  LOST: {line}")
    for line in outcome.tracebacks:
        _say(f"  TRACEBACK: {line}")


def _summed(outcomes: Sequence[Outcome]) -> int:
    landed = [kill for outcome in outcomes for told in outcome.told for kill in told.kills]
    for what, counts in (
        ("while writing", Counter(kill.kind for kill in landed)),
        ("killed", Counter(kill.kill.target for kill in landed)),
        ("in", Counter(kill.stage.rpartition("/")[2] for kill in landed)),
    ):
        _say(f"{what}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common()))
    refused = sum(told.refused for outcome in outcomes for told in outcome.told)
    _say(f"second loops on one run directory, all refused: {refused}")
    lost = sum(len(outcome.all_lost) for outcome in outcomes)
    tracebacks = sum(len(outcome.tracebacks) for outcome in outcomes)
    _say(f"kills={len(landed)} lost={lost} tracebacks={tracebacks}")
    return 1 if lost or tracebacks else 0


def _say(line: str) -> None:
    sys.stdout.write(line.encode("ascii", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
