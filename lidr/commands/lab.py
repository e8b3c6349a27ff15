"""``lidr lab build``: the lab's M_0, pretrained from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from lidr import progress
from lidr.console import console


def lab_build(output: str, seed: int, steps: int | None) -> int:
    """Pretrains M_0, writes it and prints what was measured of it."""
    from lidr.lab.build import build
    from lidr.lab.pretrain import Recipe
    from lidr.logs import show

    show()
    with progress.bar("lab build", steps or Recipe().steps) as advance:
        record = build(Path(output), seed=seed, steps=steps, progress=lambda *_: advance(1))
    terminal = console()
    terminal.print(_metrics(record))
    terminal.print(f"sha256  {record['sha256']}", highlight=False, soft_wrap=True)
    terminal.print(f"model   {output}", highlight=False, soft_wrap=True)
    return 0


def _metrics(record: Mapping[str, Any]) -> Table:
    """Shares on the held-out problems; translations are exact where they equal the parallel answer."""
    table = Table("language", "n", "accuracy", "off target", "joint", "exact from en", "into en", box=None)
    for language, found in record["languages"].items():
        shares = [f"{found[key]:.3f}" for key in ("accuracy", "off_target", "joint")]
        exact = [
            record["translation"].get(way, {}).get("exact") for way in (f"en-{language}", f"{language}-en")
        ]
        table.add_row(language, str(found["n"]), *shares, *("" if e is None else f"{e:.3f}" for e in exact))
    return table
