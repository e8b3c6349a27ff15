"""Rules between the values of benchmarks that lm-eval runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lidr.config.benchmark_schema import LANGUAGE, LmEvalConfig
from lidr.config.ranges import AT_LEAST_ZERO, POSITIVE
from lidr.errors import LidrError

RESERVED = ("id", "language", "task")  # keys of a stored result beside its metrics
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def lm_eval(benchmark: LmEvalConfig, where: str) -> Iterator[LidrError]:
    """Every broken rule of one benchmark."""
    if not benchmark.metrics:
        yield LidrError(
            "is empty",
            where=f"{where}.metrics",
            instead=f"type +{where}.metrics.accuracy={{task: m_mmlu_{LANGUAGE}, metric: acc}}",
        )
    for name, metric in benchmark.metrics.items():
        if not _NAME.fullmatch(name) or name in RESERVED:
            yield LidrError(
                f"{name!r} can be no metric's name",
                where=f"{where}.metrics",
                instead="lower-case letters, digits and _, as in accuracy_norm; not " + ", ".join(RESERVED),
            )
        if LANGUAGE not in metric.task:
            yield LidrError(
                f"{metric.task!r} lacks {LANGUAGE}",
                where=f"{where}.metrics.{name}.task",
                instead=f"put {LANGUAGE} where the code of the language stands, as in m_mmlu_{LANGUAGE}",
            )
    yield from POSITIVE(where, {"batch_size": benchmark.batch_size})
    if benchmark.limit is not None:
        yield from POSITIVE(where, {"limit": benchmark.limit})
    if benchmark.num_fewshot is not None:
        yield from AT_LEAST_ZERO(where, {"num_fewshot": benchmark.num_fewshot})
