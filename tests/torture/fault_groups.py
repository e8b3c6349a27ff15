"""The kinds of faults, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.torture import fault_damage, fault_disk, fault_inside, fault_outside
from tests.torture.fault import Fault

GROUPS: dict[str, Callable[[int], Iterator[Fault]]] = {
    "write": fault_disk.writes,
    "small-disk": fault_disk.small_disks,
    "read-only": fault_disk.read_only,
    "damage": fault_damage.damaged,
    "clock": fault_inside.clocks,
    "memory": fault_inside.memory,
    "worker": fault_outside.workers,
    "server": fault_outside.servers,
    "judge": fault_outside.judges,
}
