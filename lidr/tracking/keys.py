"""Under which keys the mirror shows what: the same words in every run, so that runs compare at a glance.

train/*          against train/step_total, the optimizer steps of all iterations in a row
iteration-1/*    against iteration-1/step, so that the curves of two iterations lie over each other
eval/*, gap/*    against iteration, the t of M_t
pairs/*          against iteration
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

ITERATION = "iteration"
STEP_TOTAL = "train/step_total"
_GAP = "imbalance_gap"


class ScoreLike(Protocol):
    """What the mirror reads of a score."""

    @property
    def benchmark(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def iteration(self) -> int: ...
    @property
    def metric(self) -> str: ...
    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def n(self) -> int: ...


def axes(iterations: int) -> Iterator[tuple[str, str]]:
    """Glob of metric keys and the key of their step axis."""
    yield "train/*", STEP_TOTAL
    for t in range(1, iterations + 1):
        yield f"iteration-{t}/*", f"iteration-{t}/step"
    for section in ("eval", "gap", "pairs"):
        yield f"{section}/*", ITERATION


def score_key(score: ScoreLike) -> str:
    """``eval/<benchmark>/<language>/<metric>``; an imbalance gap is ``gap/<benchmark>/<metric>``."""
    if score.metric.startswith(_GAP):
        return f"gap/{_word(score.benchmark)}/{score.metric.removeprefix(_GAP).lstrip('_') or 'accuracy'}"
    return f"eval/{_word(score.benchmark)}/{_word(score.language)}/{_word(score.metric)}"


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
