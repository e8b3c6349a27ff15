"""What a report reads of a run directory; a run that is not finished has less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lidr import jsonl
from lidr.config import BenchmarkKind, RunConfig, read_config
from lidr.config.labels import run_labels
from lidr.errors import LidrError
from lidr.evaluation import Score, collect_scores, outcomes, read_results
from lidr.evaluation.outcomes import Outcome
from lidr.evaluation.results import RESULTS
from lidr.printable import short
from lidr.records import Pair
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from lidr.synthesis import read
from lidr.synthesis.audit_file import read_audit

_EXAMPLES = 12


@dataclass(frozen=True)
class Run:
    """One run with all that its report shows.

    label: names it beside others. training (its records), trained (its counts), audits, pairs: by iteration;
    pairs: the first of each language.
    """

    root: Path
    label: str
    config: RunConfig
    scores: tuple[Score, ...]
    meta: Mapping[str, Any]
    training: Mapping[int, Sequence[Mapping[str, Any]]]
    trained: Mapping[int, Mapping[str, Any]]
    audits: Mapping[int, Mapping[str, Any]]
    pairs: Mapping[int, Sequence[Pair]]

    @property
    def has_lab(self) -> bool:
        """Whether some number comes from the synthetic lab world."""
        return any(b.kind is BenchmarkKind.LAB for b in self.config.evaluation.values())

    def outcomes(self, benchmark: str, iteration: int) -> list[Outcome]:
        """What each answer of M_t came to; none where M_t was not evaluated."""
        return outcomes.read(self.root / f"iteration-{iteration}" / "evaluation" / benchmark)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Reads runs and labels them by what tells them apart.

    Raises:
        LidrError: a folder holds no run.
    """
    configs = [read_config(folder / "config.yaml") for folder in folders]
    labels = run_labels(configs)
    return [_read(*found) for found in zip(folders, labels, configs, strict=True)]


def read_scores(run: Path) -> list[Score]:
    """Every score of a run so far."""
    path = run / RESULTS
    return list(read_results(path).scores) if path.exists() else collect_scores(run)


def _read(root: Path, label: str, config: RunConfig) -> Run:
    iterations = range(1, config.iterations + 1)
    results = root / RESULTS
    return Run(
        root=root,
        label=label,
        config=config,
        scores=tuple(read_scores(root)),
        meta=read_results(results).meta if results.exists() else {},
        training={
            t: _training_records(path)
            for t in iterations
            if (path := root / f"iteration-{t}" / "training" / "metrics.jsonl").exists()
        },
        trained={
            t: manifest.counts
            for t in iterations
            if (manifest := RunDirectory(root).manifest(Stage(StageKind.TRAINING, t))) is not None
        },
        audits={
            t: read_audit(path)
            for t in iterations
            if (path := root / f"iteration-{t}" / "pairs" / "audit.json").exists()
        },
        pairs={
            t: _first_pairs(path)
            for t in iterations
            if (path := root / f"iteration-{t}" / "pairs" / "pairs.jsonl").exists()
        },
    )


def _training_records(path: Path) -> list[dict[str, Any]]:
    """The step log of a training, whose curves are numbers; a last line that is being written is passed over."""
    records = []
    for number, _, record in jsonl.lines(path):
        curves = {k: v for k, v in record.items() if k == "step" or k.startswith("train/")}
        wrong = [key for key, value in curves.items() if not jsonl.is_number(value)]
        if wrong:
            raise LidrError(
                f"holds no finite number under {short(wrong[0])!r}",
                where=f"{path}:{number}",
                instead="mend or delete the line",
            )
        records.append(record)
    return records


def _first_pairs(path: Path) -> list[Pair]:
    """The first pair of every language, in the order in which they come."""
    first: dict[str, Pair] = {}
    for number, pair in enumerate(read.pairs(path)):
        first.setdefault(pair.language, pair)
        if number >= _EXAMPLES * 10:
            break
    return list(first.values())[:_EXAMPLES]
