"""What each single answer, pair or prompt of a run came to, for any number that a table may show."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from lidr.config import PromptsConfig, read_config
from lidr.config.judge_schema import Baseline
from lidr.evaluation.overlap import METRICS as OVERLAP
from lidr.evaluation.overlap import Seen
from lidr.evaluation.texts import FEATURES
from lidr.judging.run import judged_outcomes
from lidr.judging.sources import responses_of
from lidr.prompts.rows import frame
from lidr.report.runs import Run
from lidr.report.seeds import by_language
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from lidr.synthesis import read
from lidr.synthesis.filters import repeated_share

CHOSEN, REJECTED = "chosen", "rejected"
REPETITION = "repetition"
BOTH_ON_TARGET, WIN_RATE_ON_TARGET = "both_on_target", "win_rate_on_target"
_LOOPS = 0.5  # share of an answer that lies in repeated runs, above which it loops

Measurements = dict[str, dict[str, float]]  # by language and problem


def derived(subject: str, metric: str) -> bool:
    """Whether a number is made for tables alone, from the texts that a run has stored."""
    return subject in (CHOSEN, REJECTED) or metric in (REPETITION, *OVERLAP)


def measurements(
    run: Run, subject: str, metric: str, iteration: int, judge: str | None = None, against: int | None = None
) -> Measurements:
    """Each problem's measurement by language; nothing where a run has none.

    Args:
        subject: a benchmark, ``pairs``, ``responses``, or the texts of an iteration's pairs: ``chosen``, ``rejected``.
        judge: who says it; None where it is measured.
        against: t of the model that M_t is compared with.
    """
    if subject in (CHOSEN, REJECTED):
        return _features(run, subject, metric, iteration)
    if metric in OVERLAP:
        return _overlap(run, subject, metric)
    if metric == REPETITION:
        return _repetition(run, subject, iteration)
    if judge is not None:
        return _judged(run, subject, metric, iteration, judge, against)
    return by_language(run, subject, metric, iteration)


def judged_names(subject: str, iteration: int, against: int | None) -> list[str]:
    """How comparisons of M_t may be called: an opponent goes by two names."""
    if against is None:
        return [subject]
    names = {Baseline.INITIAL: 0, Baseline.PREVIOUS: iteration - 1}
    return [f"{subject} vs {name}" for name, t in names.items() if t == against]


def _judged(
    run: Run, subject: str, metric: str, iteration: int, judge: str, against: int | None
) -> Measurements:
    if metric in (BOTH_ON_TARGET, WIN_RATE_ON_TARGET):
        return _split(run, subject, metric, iteration, judge, against)
    for name in judged_names(subject, iteration, against):
        values: dict[str, dict[str, list[float]]] = {}
        for outcome in judged_outcomes(run.root, judge, name, iteration, metric):
            if metric in outcome.values:
                found = values.setdefault(outcome.language, {})
                found.setdefault(outcome.id, []).append(outcome.values[metric])
        if values:
            return {c: {p: sum(v) / len(v) for p, v in own.items()} for c, own in values.items()}
    return {}


def _split(
    run: Run, subject: str, metric: str, iteration: int, judge: str, against: int | None
) -> Measurements:
    """Of comparisons: are both answers in the prompt's language, and who wins where they are."""
    wins = _judged(run, subject, "win_rate", iteration, judge, against)
    after, before = (by_language(run, subject, "off_target", t) for t in (iteration, against or 0))
    found: Measurements = {}
    for code, own in wins.items():
        told = [p for p in own if _has(after, code, p) and _has(before, code, p)]
        both = {p: float(not after[code][p] and not before[code][p]) for p in told}
        on_target = {p: own[p] for p, value in both.items() if value}
        found[code] = both if metric == BOTH_ON_TARGET else on_target
    return {code: own for code, own in found.items() if own}


def _has(found: Measurements, code: str, problem: str) -> bool:
    return problem in found.get(code, {})


def _features(run: Run, side: str, metric: str, iteration: int) -> Measurements:
    return _features_of(run.root, side, metric, iteration)


@lru_cache(maxsize=32)
def _features_of(root: Path, side: str, metric: str, iteration: int) -> Measurements:
    path = RunDirectory(root).folder(Stage(StageKind.PAIRS, iteration)) / "pairs.jsonl"
    if not path.exists():
        return {}
    feature, found = FEATURES[metric], Measurements()
    for pair in read.pairs(path):
        value = feature(pair.chosen if side == CHOSEN else pair.rejected)
        if value is not None:
            found.setdefault(pair.language, {})[pair.id] = value
    return found


def _repetition(run: Run, benchmark: str, iteration: int) -> Measurements:
    """1 where an answer loops."""
    config = run.config.asked_benchmarks.get(benchmark)
    if config is None or RunDirectory(run.root).manifest(Stage(StageKind.EVALUATION, iteration)) is None:
        return {}
    return {code: _loops(run.root, benchmark, iteration, code) for code in config.codes(run.config.languages)}


@lru_cache(maxsize=64)
def _loops(root: Path, benchmark: str, iteration: int, language: str) -> dict[str, float]:
    stored = responses_of(RunDirectory(root), benchmark, iteration, language)
    return {key: float(repeated_share(response.response) > _LOOPS) for key, response in stored.items()}


def _overlap(run: Run, benchmark: str, metric: str) -> Measurements:
    config = run.config.asked_benchmarks.get(benchmark)
    if config is None or RunDirectory(run.root).manifest(Stage(StageKind.EVALUATION, 0)) is None:
        return {}
    codes = [code for code in config.codes(run.config.languages) if code in run.config.languages.trained]
    found = {code: _overlaps(run.root, benchmark, code) for code in codes}
    return {c: {p: v[metric] for p, v in own.items() if metric in v} for c, own in found.items()}


@lru_cache(maxsize=32)
def _overlaps(root: Path, benchmark: str, language: str) -> dict[str, dict[str, float]]:
    """Every prompt of a benchmark against all prompts that the run trained on, both without their instructions."""
    run, config = RunDirectory(root), read_config(root / "config.yaml")
    paths = [run.iteration(t) / "prompts" / f"{language}.jsonl" for t in range(1, config.iterations + 1)]
    trained = (p.prompt for path in paths if path.exists() for p in read.prompts(path, language))
    seen = Seen.of(_bare(text, config.prompts, language) for text in trained)
    asked = config.asked_benchmarks[benchmark].prompts
    stored = responses_of(run, benchmark, 0, language)
    return {key: seen.overlaps(_bare(r.prompt, asked, language)) for key, r in stored.items()}


def _bare(prompt: str, config: PromptsConfig, language: str) -> str:
    if config.instruction is None:
        return prompt
    before, after = frame(config.instruction, language)
    return prompt.removeprefix(before).removesuffix(after)
