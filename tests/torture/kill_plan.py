"""What is killed, when and how: drawn from a seed."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

A_LOOP = 8  # kills
_UNIFORM = 3  # of them at any time, the others at a write
_OFTEN = 3  # a file that is written again and again: up to which time
KINDS = {
    "report": r"/report/",
    "wandb": r"/wandb(/|$)",
    "manifest": r"/stage\.json",
    "checkpoint": r"/last\.ckpt",
    "cache": r"/reference\.safetensors|/choices\.json|/cache/|/judge\.json",
    "model": r"/model(\.tmp|\.old)?(/|$)",
    "records": r"/(prompts|responses|translations|samples|scores|pairs|training|evaluation|judging)(/|$)",
    "run files": r"",
}


class Write(NamedTuple):
    """A write of a loop that nobody killed. command: the number of the command it is of."""

    command: int
    event: str
    name: str


def kind_of(name: str) -> str:
    """What a file is of."""
    return next(kind for kind, pattern in KINDS.items() if re.search(pattern, name))


@dataclass(frozen=True)
class Kill:
    """One kill; its fields are `tests.torture.hook`'s, but for `command`, the number of the command that is killed."""

    command: int
    process: str
    target: str
    event: str | None = None
    name: str | None = None
    nth: int = 1
    delay: float = 0.0

    def told(self) -> dict[str, Any]:
        """For the hook."""
        return {key: value for key, value in asdict(self).items() if key != "command"}

    def __str__(self) -> str:
        when = f"{1000 * self.delay:.0f} ms after {self.event or 'its start'}"
        return f"{self.target} {when} {self.name or ''}".rstrip()


@dataclass(frozen=True)
class Plan:
    """One seed's: one loop, or two that share a folder and its caches.

    separate: stages are processes of their own. shards: so many share a stage's requests. rival: another loop is
    started on the same run directory by mistake, each time.
    """

    seed: int
    loops: int
    separate: bool
    shards: int
    rival: bool

    @classmethod
    def of(cls, seed: int) -> Plan:
        """Of eight seeds five are of one loop in one process, two of twins, one in separate processes."""
        place = seed % 8
        separate = place == 0
        twins = place in (2, 5)
        return cls(seed, 2 if twins else 1, separate, 2 if seed % 16 == 8 else 1, seed % 3 == 1)

    def kills(self, loop: int, writes: Sequence[Write], seconds: float) -> tuple[Kill, ...]:
        """Of one of its loops, in the order of what they aim at.

        Args:
            loop: its number.
            writes: of a loop that nobody killed.
            seconds: that it took.
        """
        rng = random.Random(f"{self.seed} {loop}")
        count = A_LOOP // self.loops
        uniform = _UNIFORM // self.loops
        places = [rng.randrange(len(writes)) for _ in range(uniform)]
        drawn = [(place, self._at_any_time(rng, writes[place], seconds)) for place in places]
        by_kind: dict[str, list[int]] = {}
        for place, write in enumerate(writes):
            by_kind.setdefault(kind_of(write.name), []).append(place)
        for kind in rng.sample(sorted(by_kind), min(count - uniform, len(by_kind))):
            place = rng.choice(by_kind[kind])
            drawn.append((place, self._at(rng, writes, place)))
        return tuple(kill for _, kill in sorted(drawn, key=lambda entry: entry[0]))

    def _at_any_time(self, rng: random.Random, write: Write, seconds: float) -> Kill:
        process = rng.choice(("loop", "stage")) if self.separate else "loop"
        return self._aimed(rng, Kill(write.command, process, "", delay=rng.uniform(0, seconds / 6)))

    def _at(self, rng: random.Random, writes: Sequence[Write], place: int) -> Kill:
        write = writes[place]
        nth = writes[: place + 1].count(write)
        delay = rng.choice((0.0, 0.0, rng.uniform(0, 0.002), rng.uniform(0, 0.03), rng.uniform(0, 0.3)))
        kill = Kill(
            write.command, "any", "", write.event, write.name, min(nth, rng.randint(1, _OFTEN)), delay
        )
        return self._aimed(rng, kill)

    def _aimed(self, rng: random.Random, kill: Kill) -> Kill:
        return replace(
            kill, target=rng.choice(("group", "self", "parent") if self.separate else ("group", "self"))
        )
