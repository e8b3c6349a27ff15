"""Under which keys the mirror shows what: the same words in every run, so that runs compare at a glance."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lidr.config import RunConfig, identity
from lidr.evaluation import Score

ITERATION = "iteration"
STEP_TOTAL = "train/step_total"
SCORE_TABLE = "scores"
_GAP = "imbalance_gap"
_PLACES: Mapping[str, tuple[type, Callable[[RunConfig], Any]]] = {
    "run": (str, identity),
    "seed": (int, lambda c: c.seed),
    "objective": (str, lambda c: str(c.objective.name)),
    "beta": (float, lambda c: c.objective.beta),
}
_SCORE = {
    "language": str,
    "iteration": int,
    "benchmark": str,
    "metric": str,
    "value": float,
    "low": float,
    "high": float,
    "n": int,
}
SCORE_COLUMNS: Mapping[str, type] = {name: type_ for name, (type_, _) in _PLACES.items()} | _SCORE


@dataclass(frozen=True)
class TableRows:
    """A table: its columns with the types of their cells, which may also be None, and its rows."""

    columns: Mapping[str, type]
    rows: Sequence[Sequence[Any]]


class Key(NamedTuple):
    """A key, or a family of keys: <...> stands for a word, and as <.../> for one or several.

    against: the key of its axis; empty where it is no curve.
    """

    name: str
    against: str
    meaning: str

    def matches(self, key: str) -> bool:
        """Whether a key is of this family."""
        parts = re.split(r"(<[^>]*>)", self.name)
        form = "".join(_form(part) for part in parts)
        return re.fullmatch(form, key) is not None


def _form(part: str) -> str:
    if not part.startswith("<"):
        return re.escape(part)
    return r"[^/]+(?:/[^/]+)*" if part.endswith("/>") else r"[^/]+"


HISTORY = (
    Key("iteration", "", "t of M_t: the axis of scores and audits"),
    Key(
        "eval/<benchmark>/<language>/<metric>",
        ITERATION,
        "a score; also of `mean-non-dominant`, `mean-unseen`, `all`",
    ),
    Key("gap/<benchmark>/<metric>", ITERATION, "dominant minus mean non-dominant"),
    Key("pairs/<number/>", ITERATION, "the audit's numbers; a cell is `pairs/<type>/<language>/...`"),
    Key("train/step_total", "", "optimizer steps of all iterations in a row: the axis of `train/`"),
    Key("train/iteration", STEP_TOTAL, "t of the model being trained"),
    Key("train/step", STEP_TOTAL, "step of this iteration"),
    Key(
        "train/<term/>",
        STEP_TOTAL,
        "a curve of training; `train/<term>/<language>`, `train/<term>/type_nl`: its share",
    ),
    Key("iteration-<t>/step", "", "step of iteration t: the axis of `iteration-t/`"),
    Key("iteration-<t>/<term>", "iteration-<t>/step", "the same curves by iteration, to lay over each other"),
    Key("scores", ITERATION, "table: one row a score, with run, seed, objective and beta"),
    Key("samples/pairs", ITERATION, "table: pair candidates, kept or with the reason they were dropped"),
    Key("samples/answers", ITERATION, "table: the models' own answers to these prompts"),
    Key("samples/translations", ITERATION, "table: their translations, with errors"),
    Key(
        "samples/benchmark_answers",
        ITERATION,
        "table: every model's answers to some problems, right or wrong",
    ),
    Key("judge/<judge>", "", "names what a judge has said so far"),
)
SUMMARY = (
    Key("change/<key/>", "", "the last model's score minus M_0's, to sort runs by"),
)  # besides the last value of every key above


def axes(iterations: int) -> Iterator[tuple[str, str]]:
    """Glob of metric keys and the key of their step axis."""
    yield "train/*", STEP_TOTAL
    for t in range(1, iterations + 1):
        yield f"iteration-{t}/*", f"iteration-{t}/step"
    for section in ("eval", "gap", "pairs", "samples"):
        yield f"{section}/*", ITERATION
    yield SCORE_TABLE, ITERATION


def group_values(config: RunConfig) -> dict[str, Any]:
    """Short keys to group and filter runs by, beside the configuration's own."""
    return {
        "run": identity(config),
        "model_name": config.model.name,
        "objective_name": str(config.objective.name),
        "beta": config.objective.beta,
        "alpha": config.objective.alpha,
        "lr": config.training.lr,
        "dominant_language": config.languages.dominant,
        "language_set": "-".join(config.languages.trained),
        "prompt_count": config.prompts.limit,
    }


def score_key(score: Score) -> str:
    """``eval/<benchmark>/<language>/<metric>``; an imbalance gap is ``gap/<benchmark>/<metric>``."""
    if score.metric.startswith(_GAP):
        return f"gap/{_word(score.benchmark)}/{score.metric.removeprefix(_GAP).lstrip('_') or 'accuracy'}"
    return f"eval/{_word(score.benchmark)}/{_word(score.language)}/{_word(score.metric)}"


def judge_key(judge: str) -> str:
    """Under which a judge's state is kept."""
    return f"judge/{_word(judge)}"


def score_values(scores: Iterable[Score]) -> dict[str, float]:
    """The values that were measured, by key."""
    return {score_key(s): s.value for s in scores if s.value is not None}


def changes(scores: Sequence[Score]) -> dict[str, float]:
    """``change/...``: each score of the last model that has it, minus M_0's."""
    first = score_values(s for s in scores if s.iteration == 0)
    later = sorted((s for s in scores if s.iteration), key=lambda s: s.iteration)
    return {f"change/{k}": v - first[k] for k, v in score_values(later).items() if k in first}


def score_rows(scores: Iterable[Score], config: RunConfig) -> TableRows:
    """The long table: a row for each score."""
    place = [read(config) for _, read in _PLACES.values()]
    rows = [[*place, *(getattr(s, column) for column in _SCORE)] for s in scores]
    return TableRows(SCORE_COLUMNS, rows)


def _word(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text)


def training_values(record: Mapping[str, Any], iteration: int, step: int, before: int) -> dict[str, float]:
    """What the mirror logs of one optimizer step.

    Args:
        record: a line of the training metrics.
        iteration: t of the model being trained.
        step: of this iteration, from 1.
        before: steps of the iterations before this one.
    """
    numbers = {k: v for k, v in record.items() if _is_number(v) and k not in (ITERATION, "step")}
    values: dict[str, float] = {STEP_TOTAL: before + step, "train/iteration": iteration, "train/step": step}
    values |= {k if k.startswith("train/") else f"train/{k}": v for k, v in numbers.items()}
    values[f"iteration-{iteration}/step"] = step
    for key, value in numbers.items():
        name = key.removeprefix("train/")
        if "/" not in name:  # per-language curves are in train/* alone
            values[f"iteration-{iteration}/{name}"] = value
    return values


def audit_of(path: Path) -> list[tuple[str, float]]:
    """The numbers of an audit on file."""
    return list(audit_values(json.loads(path.read_text(encoding="utf-8"))))


def audit_values(audit: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """``pairs/...``: the numbers of a pair audit; a cell is ``pairs/<type>/<language>/...``."""
    yield from _leaves({k: v for k, v in audit.items() if not isinstance(v, list)}, "pairs")
    for cell in audit.get("pairs", ()):
        yield from _leaves(cell, f"pairs/{cell['type']}/{cell['language']}")
    for cell in audit.get("translations", ()):
        yield from _leaves(cell, f"pairs/translation/{cell['source']}-{cell['target']}")


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        path = f"{prefix}/{_word(str(key))}"
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        elif _is_number(value):
            yield path, value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
