"""How much memory there is, by the files of made-up systems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from lidr import machine

MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n"}
V2 = "sys/fs/cgroup/outer"
INSIDE_V2 = {
    **MEMINFO,
    "proc/self/cgroup": "0::/outer/inner\n",
    **{f"{V2}/memory.max": "5000000\n", f"{V2}/memory.current": "3000000\n"},
    **{f"{V2}/inner/memory.max": "max\n", f"{V2}/inner/memory.current": "1\n"},
}
V1 = "sys/fs/cgroup/memory/memory"
INSIDE_V1 = {
    **MEMINFO,
    "proc/self/cgroup": "4:memory:/not/seen/inside\n0::/\n",
    **{f"{V1}.limit_in_bytes": "5000000\n", f"{V1}.usage_in_bytes": "3000000\n"},
    f"{V1}.stat": "cache 7\ntotal_inactive_file 1000000\n",
}
MACHINES = {
    "no group": (MEMINFO, 8000 * 1024),
    "v2": (INSIDE_V2, 2_000_000),
    "v2 file cache": ({**INSIDE_V2, f"{V2}/memory.stat": "inactive_file 500000\n"}, 2_500_000),
    "v2 unreadable": ({**INSIDE_V2, f"{V2}/memory.current": ""}, 8000 * 1024),
    "v1": (INSIDE_V1, 3_000_000),
    "v1 unlimited": ({**INSIDE_V1, f"{V1}.limit_in_bytes": str(2**63 - 4096)}, 8000 * 1024),
    "v1 over": ({**INSIDE_V1, f"{V1}.usage_in_bytes": "7000000"}, 0),
}


@pytest.mark.parametrize(("files", "expected"), MACHINES.values(), ids=MACHINES)
def test_host_memory(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert machine.host_memory(tmp_path) == expected


def test_available_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.available_memory(torch.device("cpu")) > 0
    assert machine.host_memory(tmp_path) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (50, 80))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 20)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 12)
    assert machine.available_memory(torch.device("cuda")) == 58
