"""How far the mirror is: kept in the run directory, so that a resumed run logs nothing twice."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from lidr.files import write_text

FILE = "cursor.json"


@dataclass
class Cursor:
    """What has been handed to W&B.

    history_step: the next row of the run's history, counted over all attempts.
    trained: last mirrored optimizer step by iteration (a JSON key, hence text).
    scored, paired: iterations whose scores and pairs are logged. tables: digest by table.
    later: values of scores that came after their iteration's others, by ``<iteration>/<key>``.
    """

    history_step: int = 0
    trained: dict[str, int] = field(default_factory=dict)
    scored: list[int] = field(default_factory=list)
    paired: list[int] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)
    later: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Cursor:
        """The stored cursor, or a new one; one that cannot be read counts as new."""
        try:
            found = TypeAdapter(cls).validate_json((folder / FILE).read_bytes(), strict=True, extra="forbid")
        except (OSError, ValueError):
            return cls()
        return found if all(map(str.isdecimal, found.trained)) else cls()

    def save(self, folder: Path) -> None:
        """Writes it, atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / FILE, json.dumps(asdict(self), sort_keys=True) + "\n")

    def last_step(self, iteration: int) -> int:
        """The last mirrored optimizer step of an iteration, 0 before the first."""
        return self.trained.get(str(iteration), 0)

    def steps_before(self, iteration: int) -> int:
        """Optimizer steps of the iterations before this one."""
        return sum(steps for t, steps in self.trained.items() if int(t) < iteration)
