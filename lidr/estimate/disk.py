"""Room on the outputs' file system."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lidr.estimate.need import Need
from lidr.estimate.ranges import Range


@dataclass(frozen=True)
class Disk:
    """Bytes. needed: at the fullest moment, None where a model's size is unknown. free: below the outputs folder."""

    needed: Range | None
    free: int

    @property
    def fits(self) -> bool | None:
        """Whether the expected need fits; None where it is unknown."""
        return None if self.needed is None else self.needed.expected <= self.free


def disk(need: Need, outputs: Path) -> Disk:
    """What is needed against what is free; the outputs folder need not exist yet."""
    there = next(folder for folder in (outputs, *outputs.absolute().parents) if folder.is_dir())
    needed = None
    if need.bytes is not None and need.passing_bytes is not None:
        needed = need.bytes + Range.exact(need.passing_bytes)
    return Disk(needed, shutil.disk_usage(there).free)
