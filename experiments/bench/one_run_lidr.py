"""One process: lidr trains through its public API, as a user's run does.

python -m experiments.bench.one_run_lidr spec.json measured.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from experiments.bench.spec import (
    FirstStep,
    Measured,
    RunSpec,
    StepClock,
    counted,
    peak_bytes,
    read_spec,
    release,
    write_measured,
)
from lidr.compose import compose_run
from lidr.training import TrainingJob, TrainingSummary, train


def run(spec: RunSpec) -> Measured:
    """The check's step where there is one, then the training that is measured."""
    check = None
    if spec.check:
        _train(spec, spec.check, "check")
        check = _first_step(_records(Path(spec.folder) / "check" / "metrics.jsonl")[0])
        release()
    with StepClock() as clock:
        summary = _train(spec, spec.pairs, "measured")
    return _measured(spec, summary, clock, check)


def _train(spec: RunSpec, pairs: str, name: str) -> TrainingSummary:
    folder = Path(spec.folder) / name
    return train(
        TrainingJob(
            config=compose_run(spec.overrides),
            iteration=1,
            policy=spec.setting.model,
            reference=spec.setting.model,
            pairs=Path(pairs),
            build_pairs=None,
            output=Path(spec.folder) / f"{name}-model",
            folder=folder,
        )
    )


def _measured(spec: RunSpec, summary: TrainingSummary, clock: StepClock, check: FirstStep | None) -> Measured:
    folder, warmup = Path(spec.folder) / "measured", spec.setting.warmup
    records = _records(folder / "metrics.jsonl")
    # The first step's own seconds, less its log's: what comes before it is the loading of the model.
    started = clock.ends[0] - _records(folder / "timing.jsonl")[0]["seconds"]
    steps = counted(started, clock.ends, warmup)
    tokens = sum(int(record["train/tokens"]) for record in records[warmup:])
    return Measured(
        seconds=sum(steps),
        reference_seconds=summary.reference_seconds * tokens / summary.tokens,
        step_seconds=steps,
        pairs=summary.pairs - warmup * spec.setting.pairs_per_step,
        tokens=tokens,
        peak_bytes=peak_bytes(),
        check=check,
        notes={
            "truncated": summary.truncated,
            "all_tokens": summary.tokens,
            "first": records[0]["train/loss"],
        },
    )


def _first_step(record: dict[str, Any]) -> FirstStep:
    prefix = "train/nll/"
    return FirstStep(
        total=record["train/loss"],
        dpo=record["train/dpo"],
        nll=record["train/nll"],
        grad_norm=record["train/grad_norm"],
        tokens=int(record["train/tokens"]),
        nll_by_language={
            key.removeprefix(prefix): value
            for key, value in record.items()
            if key.startswith(prefix) and "type_" not in key
        },
    )


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    write_measured(Path(sys.argv[2]), run(read_spec(Path(sys.argv[1]))))
