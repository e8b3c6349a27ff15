"""The schema of judging: who judges, by which wording, and what is judged.

A `JudgingConfig` is no part of a run's identity: answers that are stored can be judged again, by others, at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from lidr.config.engine_schema import EngineConfig, ModelConfig
from lidr.config.schema import PathsConfig
from lidr.config.trainer_schema import Accelerator

AGREEMENT = "agreement"  # stands where a judge does: what several of them have in common


class JudgeKind(StrEnum):
    """engine: a model, on a server or here. lab: made from the lab's exact checks."""

    ENGINE = "engine"
    LAB = "lab"


class Verdict(StrEnum):
    """How a reply says which of two answers is better.

    text: in words, found by a pattern. logprobs: by the probabilities of the two labels as its first token. scores:
    by two numbers, of which the higher one wins.
    """

    TEXT = "text"
    LOGPROBS = "logprobs"
    SCORES = "scores"


class JudgingTask(StrEnum):
    """comparisons: answers against an opponent's. ratings: answers on a scale from 0 to 10.

    pairs: chosen against rejected of an iteration's pairs. responses: an iteration's own answers and its translations
    into the same language, on the scale.
    """

    COMPARISONS = "comparisons"
    RATINGS = "ratings"
    PAIRS = "pairs"
    RESPONSES = "responses"


class Baseline(StrEnum):
    """Opponents that need no name: M_0, M_{t-1}, or the lab's own right answers."""

    INITIAL = "initial"
    PREVIOUS = "previous"
    LAB = "builtin:lab"


@dataclass(frozen=True)
class LabelsConfig:
    """What names the first and the second answer, and neither of them; compared without regard to case."""

    first: str
    second: str
    tie: str | None


@dataclass(frozen=True)
class WordingConfig:
    """What a judge is asked. The fields of its templates are in braces: {prompt}, {language_name} and the answers'.

    comparison_pattern: finds a verdict, its last match counts; one group, or two where the verdict is by scores.
    rating_pattern: finds a rating, one group.
    """

    comparison: str
    comparison_pattern: str
    rating: str
    rating_pattern: str
    labels: LabelsConfig


@dataclass(frozen=True)
class LabJudgeConfig:
    """Departures from the exact oracle, each the share of verdicts that it makes.

    noise: drawn at random. position_bias: for the first answer. length_bias: for the longer answer.
    """

    noise: float
    position_bias: float
    length_bias: float


@dataclass(frozen=True)
class JudgeConfig:
    """`engine` and `model` are there exactly where a model judges, `lab` where the lab does."""

    kind: JudgeKind
    verdict: Verdict
    wording: WordingConfig
    engine: EngineConfig | None = None
    model: ModelConfig | None = None
    lab: LabJudgeConfig | None = None


@dataclass(frozen=True)
class GatesConfig:
    """Least values, set beforehand, below which a judge's number is marked as not to be relied on; null: no gate.

    swap_consistency: share of comparisons in which both orders name the same winner. alpha: Krippendorff's, between
    judges.
    """

    swap_consistency: float | None
    alpha: float | None


@dataclass(frozen=True)
class JudgingConfig:
    """What is judged in runs, by whom."""

    tasks: tuple[JudgingTask, ...]
    benchmarks: tuple[str, ...]
    opponents: tuple[str, ...]
    iterations: tuple[int, ...]
    codes: tuple[str, ...]
    limit: int
    both_orders: bool
    mean_ratings: bool
    gates: GatesConfig
    cache: str | None
    accelerator: Accelerator
    threads: int | None
    seed: int
    paths: PathsConfig
    judges: dict[str, JudgeConfig] = field(default_factory=dict)
