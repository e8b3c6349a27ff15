"""Evaluation of a model: answers first, stored and resumable, then scores from the stored answers alone.

Benchmarks that lm-eval runs have results in the place of answers: `lidr.evaluation.harness` makes them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from lidr import prompts as prompt_sets
from lidr.config import (
    BenchmarkConfig,
    LanguagesConfig,
    LmEvalConfig,
    PromptFormat,
    PromptSchedule,
    RunConfig,
    SamplingConfig,
)
from lidr.engines.base import Engine
from lidr.evaluation import harness_store, lab, outcomes, reward_accuracy
from lidr.evaluation.conversation import answer_later_turns, turn_answers, turns
from lidr.evaluation.kinds import KINDS, Kind
from lidr.evaluation.outcomes import Outcome, observations
from lidr.evaluation.results import write_scores
from lidr.evaluation.scores import ALL, MEAN_NON_DOMINANT, MEAN_UNSEEN, Score, imbalance_gap
from lidr.evaluation.statistics import RATE, RATE_DIFFERENCE, combine, mean, mean_of_groups
from lidr.records import Prompt
from lidr.synthesis import read
from lidr.synthesis.generate import generate, response_jobs
from lidr.synthesis.lazy import LazyEngine
from lidr.synthesis.resume import Job

log = logging.getLogger(__name__)

Prompts = Mapping[str, Sequence[Prompt]]


def evaluate(
    config: RunConfig, iteration: int, load_engine: Callable[[], Engine], folder: Path, pairs_folder: Path
) -> list[Score]:
    """Evaluates M_t on every benchmark of the run and writes ``scores.json`` into the folder.

    Args:
        config: the run.
        iteration: t.
        load_engine: called at most once, and only where an answer is missing.
        folder: ``iteration-<t>/evaluation``.
        pairs_folder: ``iteration-<t>/pairs``, from which M_t was trained; it need not exist.

    Raises:
        LidrError: a benchmark that lm-eval runs has no results yet.
    """
    engine = LazyEngine(load_engine)
    scores: list[Score] = []
    for name, benchmark in config.evaluation.items():
        if isinstance(benchmark, LmEvalConfig):
            scores += score_tasks(benchmark, folder / name, config.languages, iteration)
            continue
        prompts = benchmark_prompts(benchmark, config.languages, config.seed)
        answer(benchmark, prompts, engine, folder / name)
        scores += score(benchmark, prompts, folder / name, config.languages, iteration)
    scores += score_pairs(config, iteration, pairs_folder)
    write_scores(folder, scores)
    return scores


@lru_cache(maxsize=8)
def benchmark_prompts(
    benchmark: BenchmarkConfig, languages: LanguagesConfig, seed: int
) -> dict[str, list[Prompt]]:
    """A benchmark's prompts, the same for every M_t: those of its own languages, or of all of the run's.

    Read once: the files of answers are planned from them, and filled and scored by them.
    """
    codes = benchmark.codes(languages)
    aligned = prompt_sets.load(benchmark.prompts, codes)
    return prompt_sets.select(aligned, benchmark.prompts, PromptSchedule.REUSE, 1, seed)


def answer(benchmark: BenchmarkConfig, prompts: Prompts, engine: Engine, folder: Path) -> None:
    """Stores the model's greedy answers as ``<language>.jsonl``; what an earlier attempt stored stays."""
    folder.mkdir(parents=True, exist_ok=True)
    generate(prompts, engine, _sampling(benchmark), folder)
    answer_later_turns(prompts, engine, _sampling(benchmark), folder)


def answer_jobs(config: RunConfig, folder: Path) -> list[Job]:
    """The files of `answer`, of every benchmark of a run; of conversations those of the first turn."""
    return [
        job
        for name, benchmark in config.asked_benchmarks.items()
        for job in response_jobs(
            benchmark_prompts(benchmark, config.languages, config.seed), _sampling(benchmark), folder / name
        )
    ]


def _sampling(benchmark: BenchmarkConfig) -> SamplingConfig:
    return SamplingConfig(benchmark.max_new_tokens, benchmark.repetition_penalty)


def score(
    benchmark: BenchmarkConfig, prompts: Prompts, folder: Path, languages: LanguagesConfig, iteration: int
) -> list[Score]:
    """Scores of the stored answers; the folder's name is the benchmark's.

    Writes what every answer came to beside the answers; from it models are compared problem by problem.

    Returns:
        Per metric: each language in the run's order, the mean over the non-dominant and over the unseen ones,
        and for accuracy and joint the imbalance gap.

    Raises:
        LidrError: an answer is missing or belongs to another prompt.
    """
    kind = KINDS[benchmark.kind]
    found = [o for own in prompts.values() for o in _outcomes(kind, own, folder, languages)]
    outcomes.write(folder, found)
    present = [code for code in languages.all if prompts.get(code)]
    return [
        entry
        for metric in kind.metrics
        for entry in _metric_scores(
            folder.name,
            found,
            metric,
            present,
            languages,
            iteration,
            bounds=None if metric in kind.unbounded else RATE,
            has_gap=metric in kind.gap_metrics,
        )
    ]


def score_tasks(
    benchmark: LmEvalConfig, folder: Path, languages: LanguagesConfig, iteration: int
) -> list[Score]:
    """Scores of the stored results of lm-eval's tasks, as `score` makes them of answers; every metric has a gap.

    Raises:
        LidrError: a language has no results.
    """
    codes = benchmark.codes(languages)
    found = harness_store.outcomes(folder, codes)
    outcomes.write(folder, found)
    present = [code for code in languages.all if code in codes]
    return [
        entry
        for metric in benchmark.metrics
        for entry in _metric_scores(folder.name, found, metric, present, languages, iteration)
    ]


def _outcomes(
    kind: Kind, prompts: Sequence[Prompt], folder: Path, languages: LanguagesConfig
) -> Iterator[Outcome]:
    """Of each prompt; a conversation's measurements are the means over its turns."""
    by_prompt: dict[str, list[Outcome]] = {}
    for turn in range(1, turns({"": prompts}) + 1):
        for prompt, response in turn_answers(prompts, folder, turn):
            by_prompt.setdefault(prompt.id, []).append(kind.outcome(prompt, response, languages.all))
    for first, *later in by_prompt.values():
        every = [first, *later]
        values = {
            metric: fmean(o.values[metric] for o in every if metric in o.values)
            for metric in dict.fromkeys(m for o in every for m in o.values)
        }
        yield Outcome(first.id, first.language, values)


def _metric_scores(
    name: str,
    found: Sequence[Outcome],
    metric: str,
    present: Sequence[str],
    languages: LanguagesConfig,
    iteration: int,
    *,
    bounds: tuple[float, float] | None = RATE,
    has_gap: bool = True,
) -> Iterator[Score]:
    seen = observations(found, metric)
    for code in present:
        yield Score.of(
            name, code, iteration, metric, mean((o for o in seen if o.group == code), bounds=bounds)
        )
    non_dominant, unseen = aggregates(languages, present)
    for label, codes in ((MEAN_NON_DOMINANT, non_dominant), (MEAN_UNSEEN, unseen)):
        if codes:
            yield Score.of(name, label, iteration, metric, mean_of_groups(seen, codes, bounds=bounds))
    if has_gap and languages.dominant in present and non_dominant:
        gap = combine(seen, gap_weights(languages.dominant, non_dominant), bounds=RATE_DIFFERENCE)
        yield Score.of(name, ALL, iteration, imbalance_gap(metric), gap)


def aggregates(languages: LanguagesConfig, present: Sequence[str]) -> tuple[list[str], list[str]]:
    """The non-dominant and the unseen languages that a benchmark has."""
    return [c for c in languages.non_dominant if c in present], [c for c in languages.unseen if c in present]


def gap_weights(dominant: str, non_dominant: Sequence[str]) -> dict[Hashable, float]:
    """Dominant minus the mean of the non-dominant ones, as weights by language."""
    return {dominant: 1.0, **{code: -1.0 / len(non_dominant) for code in non_dominant}}


def score_pairs(config: RunConfig, iteration: int, pairs_folder: Path) -> list[Score]:
    """Reward accuracy of the pairs M_t was trained on; none where their answers cannot be checked."""
    pairs = pairs_folder / "pairs.jsonl"
    prompts = pairs_folder.parent / "prompts" / f"{config.languages.dominant}.jsonl"
    if config.prompts.format is not PromptFormat.LAB or not pairs.exists() or not prompts.exists():
        return []
    answers = {p.id: lab.number(p) for p in read.prompts(prompts, config.languages.dominant)}
    return reward_accuracy.reward_accuracy(read.pairs(pairs), answers, config.languages, iteration)
