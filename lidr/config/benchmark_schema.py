"""The schema of benchmarks: their kinds, and those whose tasks lm-evaluation-harness knows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lidr.config.schema import LanguagesConfig

LANGUAGE = "{language}"


class BenchmarkKind(StrEnum):
    """lab: exact checks of the lab's answers. arithmetic: the final number of a worked answer, as in MGSM.

    fidelity: is the answer in the prompt's language. lm_eval: tasks of lm-evaluation-harness.
    """

    LAB = "lab"
    ARITHMETIC = "arithmetic"
    FIDELITY = "fidelity"
    LM_EVAL = "lm_eval"


@dataclass(frozen=True)
class TaskMetric:
    """Where a number comes from: the name of an lm-eval task, with {language} in it, and its own metric there."""

    task: str
    metric: str


@dataclass(frozen=True)
class LmEvalConfig:
    """A benchmark that lm-eval runs: in each language one task, or one for each of several metrics.

    metrics: by the name they have in tables. renamed: lm-eval's names of tasks that do not follow the pattern.
    item_keys: keys of a document that name an item alike in all languages, the first that it has; none: nothing does.
    """

    kind: Literal[BenchmarkKind.LM_EVAL]
    metrics: dict[str, TaskMetric]
    renamed: dict[str, str]
    item_keys: tuple[str, ...]
    num_fewshot: int | None
    limit: int | None
    batch_size: int
    chat_template: bool
    include_path: str | None
    languages: tuple[str, ...]

    def codes(self, run: LanguagesConfig) -> tuple[str, ...]:
        """The languages to evaluate: its own, or all of the run's."""
        return self.languages or run.all

    def task(self, metric: TaskMetric, language: str) -> str:
        """lm-eval's name of the task that gives a metric in a language."""
        name = metric.task.replace(LANGUAGE, language)
        return self.renamed.get(name, name)

    def tasks(self, language: str) -> dict[str, dict[str, str]]:
        """The tasks of a language, in order; of each lm-eval's own metrics, by their names in tables."""
        found: dict[str, dict[str, str]] = {}
        for name, metric in self.metrics.items():
            found.setdefault(self.task(metric, language), {})[name] = metric.metric
        return found
