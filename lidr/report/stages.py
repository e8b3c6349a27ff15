"""Tables of what the stages of a run did: settings, pairs, training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lidr.config import identity
from lidr.report.grids import Grid
from lidr.report.metrics import MISSING
from lidr.report.runs import Run
from lidr.synthesis.audit import audit_table

_TAIL = 10
_LONGEST = 140


def settings_grid(runs: Sequence[Run]) -> Grid:
    """What the runs were, a column a run."""
    settings = {run.label: _settings(run) for run in runs}
    names = list(next(iter(settings.values())))
    rows = [(name, *(settings[run.label][name] for run in runs)) for name in names]
    return Grid("settings", "Settings", ("", *(run.label for run in runs)), tuple(rows))


def _settings(run: Run) -> dict[str, str]:
    config = run.config
    lora = f"LoRA rank {config.lora.rank}" if config.lora.enabled else "all parameters"
    return {
        "model M_0": config.model.name,
        "languages": " ".join(config.languages.trained),
        "unseen": " ".join(config.languages.unseen) or MISSING,
        "prompts": f"{config.prompts.name}, {config.prompts.limit} an iteration, {config.prompt_schedule}",
        "pairs": config.pairs.describe(),
        "objective": config.objective.describe(),
        "training": f"{lora}, lr {config.training.lr:g}, batch {config.training.global_batch}, "
        f"epochs {config.training.epochs}",
        "reference": str(config.reference),
        "iterations": str(config.iterations),
        "seed": str(config.seed),
        "identity": identity(config),
        "code": str(run.meta.get("versions", {}).get("lidr", MISSING)),
        "commit": str(run.meta.get("commit") or MISSING)[:12],
        "detector": str(run.meta.get("detector", MISSING)),
    }


def audit_grids(runs: Sequence[Run]) -> Iterator[Grid]:
    """The audit of each iteration's pairs."""
    for number, run in enumerate(runs, start=1):
        for iteration, audit in run.audits.items():
            table = audit_table(audit)
            of = "" if len(runs) == 1 else f" of {run.label}"
            yield Grid(
                name=_name("audit", number, iteration, runs),
                title=f"Pairs of iteration {iteration}{of}",
                header=table.header,
                rows=tuple(table.rows),
                note="On target: share of the texts whose language could be told. Length ratio: chosen by "
                "rejected, in characters, over kept pairs.",
            )


def example_grids(runs: Sequence[Run]) -> Iterator[Grid]:
    """The first pair of each language, for reading."""
    for number, run in enumerate(runs, start=1):
        for iteration, pairs in run.pairs.items():
            of = "" if len(runs) == 1 else f" of {run.label}"
            yield Grid(
                name=_name("examples", number, iteration, runs),
                title=f"First pairs of iteration {iteration}{of}",
                header=("id", "language", "prompt", "chosen", "from", "rejected", "from"),
                rows=tuple(
                    (
                        p.id,
                        p.language,
                        _cut(p.prompt),
                        _cut(p.chosen),
                        p.chosen_origin,
                        _cut(p.rejected),
                        p.rejected_origin,
                    )
                    for p in pairs
                ),
            )


def _name(kind: str, number: int, iteration: int, runs: Sequence[Run]) -> str:
    return f"{kind}-iteration-{iteration}" if len(runs) == 1 else f"{kind}-run-{number}-iteration-{iteration}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def training_grid(runs: Sequence[Run]) -> Grid:
    """How each training went: a row a run and iteration."""
    header = (
        "run",
        "iteration",
        "pairs",
        "cut",
        "dropped",
        "steps",
        "loss, first",
        "loss, last",
        "margin, last",
        "accuracy, last",
        "chosen drift, last",
    )
    rows = [
        (run.label, str(t), *_used(run, t), *_training(run.training.get(t, ())))
        for run in runs
        for t in range(1, run.config.iterations + 1)
    ]
    return Grid(
        name="training",
        title="Training",
        header=header,
        rows=tuple(rows),
        note="Cut: pairs with a response cut to max_length; dropped: pairs left out for it. First: the first "
        f"optimizer step. Last: mean of the last {_TAIL}. Margin: reward of chosen minus that of rejected; in "
        "DPO a reward is beta times the log-ratio of policy and reference, in nats. Accuracy: share of pairs with "
        "margin above 0. "
        "Chosen drift: log-prob of the chosen answer under the policy minus under the reference, in nats.",
    )


def _used(run: Run, iteration: int) -> tuple[str, ...]:
    counts = run.trained.get(iteration, {})
    return tuple(str(counts.get(name, MISSING)) for name in ("pairs", "truncated", "dropped"))


def _training(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    if not records:
        return (MISSING,) * 6
    tail = records[-_TAIL:]
    return (
        str(len(records)),
        _mean(records[:1], "train/loss"),
        *(_mean(tail, f"train/{name}") for name in ("loss", "margin", "accuracy", "chosen_drift")),
    )


def _mean(records: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [float(r[key]) for r in records if key in r]
    return f"{sum(values) / len(values):.3f}" if values else MISSING
