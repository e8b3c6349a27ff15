"""What this process may use: cores, and memory of the host or of a device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GIB = 2**30  # bytes


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory(device: torch.device) -> int:
    """Bytes that can still be allocated: on CUDA free or held by PyTorch's allocator without use.

    On the CPU what the kernel calls available, or less where a control group limits this process.
    """
    if device.type == "cuda":
        import torch  # takes seconds, and commands that load no model ask for cores

        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return host_memory(Path("/"))


def host_memory(root: Path) -> int:
    """Bytes, by the files of a system at `root`."""
    free = [_meminfo(root / "proc/meminfo"), *_group_free(root)]
    known = [value for value in free if value is not None]
    return min(known) if known else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _meminfo(path: Path) -> int | None:
    """MemAvailable, in bytes."""
    for line in _read(path).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _group_free(root: Path) -> Iterator[int]:
    """What each control group of this process leaves free: its limit less its use, without the file cache.

    A group is limited by those above it too; in a container its own path may only be visible as the root.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        names = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes")
            if controllers
            else ("memory.max", "memory.current")
        )
        own = base / path.lstrip("/")
        for group in (own, *own.parents):
            if not group.is_relative_to(base):
                break
            limit, used = (_read(group / name).strip() for name in names)
            if limit.isdigit() and used.isdigit():
                yield max(0, int(limit) - int(used) + _cached_files(group / "memory.stat"))


def _cached_files(path: Path) -> int:
    """Bytes of the file cache that the kernel drops first."""
    values = dict(line.split() for line in _read(path).splitlines())
    return int(values.get("total_inactive_file", values.get("inactive_file", 0)))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
