"""Files and scores of a run, as the tracker finds them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FakeScore:
    language: str
    iteration: int
    value: float | None
    metric: str = "accuracy"
    benchmark: str = "lab"
    low: float | None = 0.1
    high: float | None = 0.9
    n: int = 10


def steps(path: Path, records: Sequence[Mapping[str, Any]], tail: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in records) + tail, encoding="utf-8")
    return path


def step(number: int, iteration: int = 1) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "step": number,
        "train/loss": 1.0 / number,
        "train/margin/es": 0.5,
        "seconds": 0.1,
    }


def pairs(folder: Path, count: int = 5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    fields = {
        "language": "es",
        "prompt": "¿x?",
        "rejected": "b",
        "chosen_origin": "en->es",
        "rejected_origin": "es",
    }
    lines = [
        json.dumps({"id": str(i), "chosen": f"a{i}", **fields}, ensure_ascii=False) for i in range(count)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    audit = {
        "kept": count,
        "dropped": {"empty": 1},
        "pairs": [
            {"type": "nl", "language": "es", "kept": count, "on_target": {"chosen": {"rate": None, "on": 4}}}
        ],
        "detector": {"name": "d"},
    }
    (folder / "audit.json").write_text(json.dumps(audit), encoding="utf-8")
    return folder / "pairs.jsonl"
