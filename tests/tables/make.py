"""Runs as they lie on disk, with scores that are written by hand, and prompt files of the official layout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from lidr.compose import compose_run
from lidr.config import RunConfig, to_yaml
from lidr.evaluation import Score, write_results
from lidr.store import RunDirectory
from tests.report.runs import make_run

ALPAGASUS = ("en", "ar", "de", "es", "fr", "it", "ja", "ko", "ru", "th", "zh")
MGSM = ("en", "bn", "de", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")
GSM8K = ("en", "de", "es", "fr", "ru")


def score(
    benchmark: str, language: str, t: int, metric: str, value: float, arm: float = 0.05, n: int = 250
) -> Score:
    judge = benchmark.partition("@")[2] or None
    return Score(benchmark, language, t, metric, value, value - arm, value + arm, n, judge=judge)


def scored_run(folder: Path, overrides: Sequence[str], scores: Iterable[Score]) -> RunConfig:
    """A finished run that holds these scores and no answers."""
    config = compose_run(["tracking=none", "paths.data=/data", *overrides])
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    write_results(folder / "results.json", list(scores), config)
    RunDirectory(folder).set_status("done")
    return config


def lab_run(folder: Path, overrides: Sequence[str], limit: int = 40) -> RunConfig:
    """A finished run of the lab with answers that are scored for real."""
    config = make_run(folder, overrides, limit=limit)
    RunDirectory(folder).set_status("done")
    return config


def official(root: Path) -> Path:
    """Prompt files of the official layout and counts, with texts of a few characters."""
    for number, part in enumerate(("id_0_1000", "id_1000_2000")):
        rows = [{"id": f"a-{1000 * number + i}", "instruction": f"do {i}"} for i in range(1000)]
        for code in ALPAGASUS:
            _lines(root / "alpagasus" / "subset" / part / f"{code}.jsonl", rows)
    for code in GSM8K:
        prefix = "" if code == "en" else code
        problems = [
            {"id": f"{prefix}gsm8k_{i}", "instruction": f"sum {i}", "final_answer": "3"} for i in range(7473)
        ]
        _lines(root / "gsm8k" / "train" / f"{code}.jsonl", problems)
    for code in MGSM:
        _lines(
            root / "MGSM" / f"mgsm_{code}.jsonl", [{"query": f"q {i}", "response": "3"} for i in range(250)]
        )
    rows = [{"id": i, "instruction": f"tell {i}"} for i in range(805)]
    for code in ALPAGASUS:
        path = root / "x-alpacaeval" / "data" / f"{code}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows), encoding="utf-8")
    for code in ALPAGASUS:
        _lines(
            root / "mt_bench" / f"{code}.jsonl",
            [{"question_id": i, "turns": [f"say {i}", f"and {i}"]} for i in range(80)],
        )
    return root


def own_prompts(root: Path, codes: Sequence[str], count: int = 2000) -> Path:
    """One file a language, for ``prompts=jsonl``."""
    for code in codes:
        _lines(root / f"{code}.jsonl", [{"id": str(i), "prompt": f"do {i}"} for i in range(count)])
    return root


def _lines(path: Path, rows: Iterable[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
