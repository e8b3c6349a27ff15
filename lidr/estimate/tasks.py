"""What is known of benchmarks that lm-eval runs, whose requests are made only when their data is loaded."""

from __future__ import annotations

from lidr.config import LanguagesConfig, LmEvalConfig, RunConfig
from lidr.estimate import assumed
from lidr.estimate.need import Need
from lidr.estimate.ranges import Range

_ITEM_BYTES = 180  # a line of <language>.jsonl and one of outcomes.jsonl


def need(benchmark: LmEvalConfig, languages: LanguagesConfig) -> Need:
    """Disk, by an assumed number of items; requests, tokens and time are unknown."""
    items = Range.exact(benchmark.limit) if benchmark.limit else assumed.TASK_ITEMS
    return Need(seconds=None, bytes=items * (_ITEM_BYTES * len(benchmark.codes(languages))))


def warnings(config: RunConfig) -> list[str]:
    """What the estimate leaves out."""
    return [
        f"evaluation.{name}: lm-eval's requests are not counted, and their time is unknown"
        for name in config.lm_eval_benchmarks
    ]
