"""``lidr lab build``: the lab's M_0, pretrained from a seed."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console


def lab_build(output: str, seed: int, steps: int | None) -> int:
    """Pretrains M_0, writes it and prints its metrics."""
    from lidr.lab.build import build
    from lidr.logs import show

    show()
    record = build(Path(output), seed=seed, steps=steps)
    console = Console()
    console.print_json(json.dumps(record["metrics"]))
    console.print(f"model   {output}", highlight=False, soft_wrap=True)
    return 0
