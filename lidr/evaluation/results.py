"""``results.json``: the scores of a run and what it takes to read them; ``scores.json``: one model's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lidr import __version__
from lidr.config import RunConfig, identity
from lidr.errors import LidrError
from lidr.evaluation.scores import Score
from lidr.files import write_text
from lidr.identification import detector_name
from lidr.printable import short

SCHEMA = 1
RESULTS = "results.json"
SCORES = "scores.json"
_AGAIN = "delete it and run the same command again: it is written anew"
_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "pytorch-lightning", "vllm", "lm_eval")


@dataclass(frozen=True)
class Results:
    """What ``results.json`` holds."""

    meta: Mapping[str, Any]
    scores: tuple[Score, ...]


def write_results(path: Path, scores: Iterable[Score], config: RunConfig) -> None:
    """Writes a run's scores, sorted by iteration and benchmark, atomically."""
    _write(path, {"schema": SCHEMA, "meta": describe(config), "scores": _records(scores)})


def read_results(path: Path) -> Results:
    """Reads what `write_results` wrote.

    Raises:
        LidrError: the file is missing, no JSON, or of another schema.
    """
    values = _read(path)
    meta = values.get("meta", {})
    if not isinstance(meta, dict) or not isinstance(meta.get("versions", {}), dict):
        raise LidrError("meta is no object, or its versions are none", where=str(path), instead=_AGAIN)
    return Results(meta, _scores(values, path))


def write_scores(folder: Path, scores: Iterable[Score]) -> None:
    """Writes the scores of one model beside its answers, atomically."""
    _write(folder / SCORES, {"schema": SCHEMA, "scores": _records(scores)})


def add_scores(folder: Path, scores: Iterable[Score]) -> None:
    """Writes scores beside those that a folder holds, in whose place they stand where they are the same numbers."""
    path, new = folder / SCORES, list(scores)
    places = {_place(score) for score in new}
    old = _scores(_read(path), path) if path.exists() else ()
    write_scores(folder, [*(score for score in old if _place(score) not in places), *new])


def _place(score: Score) -> tuple[str, int, str, str]:
    return score.benchmark, score.iteration, score.metric, score.language


def collect_scores(run: Path) -> list[Score]:
    """The scores of every model of a run that is evaluated so far, then what judges say of them."""
    paths = [*run.glob(f"iteration-*/evaluation/{SCORES}"), *judge_files(run)]
    return sorted((s for path in paths for s in stored_scores(path)), key=lambda s: s.iteration)


def judge_files(run: Path) -> list[Path]:
    """The score files of judges, each in the judge's folder."""
    return sorted(run.glob(f"judging/*/{SCORES}"))


def stored_scores(path: Path) -> tuple[Score, ...]:
    """The scores of one file that `write_scores` wrote.

    Raises:
        LidrError: as `read_results`.
    """
    return _scores(_read(path), path)


def describe(config: RunConfig) -> dict[str, Any]:
    """What a number means depends on these: model, detector, versions, commit."""
    return {
        "experiment": config.name,
        "identity": identity(config),
        "model": config.model.name,
        "model_revision": config.model.revision,
        "seed": config.seed,
        "dominant": config.languages.dominant,
        "non_dominant": list(config.languages.non_dominant),
        "unseen": list(config.languages.unseen),
        "benchmarks": {name: str(benchmark.kind) for name, benchmark in sorted(config.evaluation.items())},
        "detector": detector_name(),
        "interval": "95 % percentile bootstrap, clustered by problem",
        "versions": {"lidr": __version__} | dict(_versions()),
        "commit": _commit(),
    }


def _records(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """By iteration and benchmark; metrics and languages keep the order in which they were scored."""
    return [s.to_json() for s in sorted(scores, key=lambda s: (s.iteration, s.benchmark))]


def _write(path: Path, values: Mapping[str, Any]) -> None:
    """One score a line, so that a difference between two files reads well."""
    head = {k: v for k, v in values.items() if k != "scores"}
    lines = ",\n".join("    " + json.dumps(r, ensure_ascii=False) for r in values["scores"])
    text = json.dumps(head, ensure_ascii=False, indent=2)[:-2] + f',\n  "scores": [\n{lines}\n  ]\n}}\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LidrError("not readable as JSON", where=str(path), instead=_AGAIN) from error
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        found = values.get("schema") if isinstance(values, dict) else None
        raise LidrError(f"schema {short(found)!r} is not {SCHEMA}", where=str(path), instead=_AGAIN)
    return values


def _scores(values: Mapping[str, Any], path: Path) -> tuple[Score, ...]:
    records = values.get("scores", [])
    if not isinstance(records, list):
        raise LidrError("scores are no list", where=str(path), instead=_AGAIN)
    return tuple(Score.from_json(record, str(path)) for record in records)


def _versions() -> Iterable[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


@cache
def _commit() -> str | None:
    """The commit of the checkout this code runs from; None where it is installed as a package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
