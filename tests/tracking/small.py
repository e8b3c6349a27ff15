"""A finished run as small as W&B can tell: two iterations of 40 steps in two languages."""

from __future__ import annotations

import json
from pathlib import Path

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import to_yaml
from lidr.evaluation import Score
from lidr.evaluation.results import write_scores
from lidr.stages import stages
from lidr.store import RunDirectory

OVERRIDES = (
    "languages.non_dominant=[es]",
    "languages.unseen=[]",
    "tracking=offline",
    "tracking.sample_pairs=0",
    "tracking.tags=[night]",
)
ROWS = 85  # 3 evaluations, 2 pairs, 2 x 40 steps
STEPS = 40


def make_small_run(folder: Path) -> None:
    """Writes it; no model, no answers."""
    config = compose_run(list(OVERRIDES))
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    run = RunDirectory(folder)
    for stage in stages(config):
        run.folder(stage).mkdir(parents=True)
    for t in range(3):
        found = [
            ("es", "accuracy", 0.5 + t / 10),
            ("en", "accuracy", 0.9),
            ("all", "imbalance_gap", 0.4 - t / 10),
        ]
        scores = [Score("lab", code, t, metric, value, None, None, 4) for code, metric, value in found]
        scores.append(Score("lab", "es", t, "unmeasured", None, None, None, 0))
        write_scores(folder / f"iteration-{t}/evaluation", scores)
    for t in (1, 2):
        cell = {"type": "nl", "language": "es", "kept": 30, "on_target": {"chosen": {"rate": None, "on": 4}}}
        audit = {"candidates": 64, "kept": 60, "dropped": {"empty": 4}, "pairs": [cell]}
        (folder / f"iteration-{t}/pairs/audit.json").write_text(json.dumps(audit), encoding="utf-8")
        steps = [
            {"iteration": t, "step": s, "train/loss": 1 / s, "train/loss/es": 2 / s, "seconds": 0.2}
            for s in range(1, STEPS + 1)
        ]
        jsonl.write(folder / f"iteration-{t}/training/metrics.jsonl", steps)
        timing = [{"step": s, "tokens_per_second": 100.0 + s} for s in range(1, STEPS + 1)]
        jsonl.write(folder / f"iteration-{t}/training/timing.jsonl", timing)
    for stage in stages(config):
        run.finish(stage, {}, {}, [], {}, 1.0)
    run.set_status("done")
