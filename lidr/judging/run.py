"""Judging runs: ask what is not asked yet, then make every number from the stored replies.

In a run folder, ``judging/<judge>/`` holds who judged (``judge.json``), the replies, what each comparison and rating
came to, and ``scores.json``; ``judging/agreement.json`` how far several judges agree.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lidr.config import LanguagesConfig, RunConfig, read_config
from lidr.config.judge_schema import AGREEMENT, JudgingConfig, JudgingTask
from lidr.engines.base import Engine
from lidr.errors import LidrError, did_you_mean
from lidr.evaluation import outcomes
from lidr.evaluation.outcomes import Outcome
from lidr.evaluation.results import add_scores, collect_scores, write_results
from lidr.evaluation.scores import Score
from lidr.judging import agreeing, judges, scoring
from lidr.judging.judges import Judge
from lidr.judging.questions import (
    Comparison,
    Rated,
    comparison_job,
    preferences,
    rating_job,
    ratings,
)
from lidr.judging.scoring import Place
from lidr.judging.sources import Judged, Opponent, comparisons
from lidr.judging.verdicts import Preference
from lidr.stages import StageKind
from lidr.store import RunDirectory
from lidr.synthesis.resume import complete_all

log = logging.getLogger(__name__)
FOLDER = "judging"
COMPARISONS = "comparisons"


@dataclass(frozen=True)
class Compared:
    """Comparisons of M_t by language. name: the benchmark with its opponent, before the judge's in tables."""

    name: str
    iteration: int
    by_language: dict[str, list[Comparison]]


@dataclass(frozen=True)
class RatedAnswers:
    """Answers of M_t by language. metric: what their ratings are called."""

    name: str
    iteration: int
    by_language: dict[str, list[Rated]]
    metric: str = scoring.RATING


def judge_run(folder: Path, config: JudgingConfig) -> list[Score]:
    """Has every judge judge a run, and writes its scores into the run's results.

    What is stored is not asked again; a killed call goes on where it stopped.

    Args:
        folder: a run's.
        config: who judges what.

    Raises:
        LidrError: there is nothing of what is to be judged, or a judge cannot go on; what was answered stands.
    """
    run = RunDirectory(folder)
    run_config = read_config(folder / "config.yaml")
    judged = Judged(run, run_config, config.limit, config.seed, _languages(run_config, config))
    with run.locked():
        compared = list(_compared(judged, config))
        rated = list(_rated(judged, config))
        if not compared and not rated:
            raise LidrError(
                "nothing that is to be judged is there yet", where=str(folder), instead=_advice(config)
            )
        own = [Judge(name, judge, folder / FOLDER / name) for name, judge in config.judges.items()]
        for judge in own:
            judge.claim(config.both_orders)
            with judges.engine(judge, config) as engine:
                _ask(judge, engine, compared, rated, config)
        scores = _scores(own, compared, rated, judged, config)
        write_results(folder / "results.json", collect_scores(folder), run_config)
    return scores


def _compared(judged: Judged, config: JudgingConfig) -> Iterator[Compared]:
    if JudgingTask.COMPARISONS in config.tasks:
        for benchmark in _benchmarks(judged.config, config):
            prompts = judged.prompts(benchmark)
            for opponent in map(Opponent.parse, config.opponents):
                for t in _iterations(judged.evaluated(benchmark), config):
                    found = {
                        code: comparisons(own, judged.answers(benchmark, t, code), others)
                        for code, own in prompts.items()
                        if own and (others := opponent.answers(judged, benchmark, t, own)) is not None
                    }
                    if found:
                        name = f"{benchmark} vs {opponent.name}" if opponent.name else benchmark
                        yield Compared(name, t, found)
    if JudgingTask.PAIRS in config.tasks:
        for t in _iterations(range(1, judged.config.iterations + 1), config):
            if judged.has(StageKind.PAIRS, t) and (pairs := judged.pairs(t)):
                yield Compared(JudgingTask.PAIRS, t, pairs)


def _rated(judged: Judged, config: JudgingConfig) -> Iterator[RatedAnswers]:
    if JudgingTask.RATINGS in config.tasks:
        for benchmark in _benchmarks(judged.config, config):
            for t in _iterations(judged.evaluated(benchmark), config):
                yield RatedAnswers(benchmark, t, judged.rated(benchmark, t))
    if JudgingTask.RESPONSES in config.tasks:
        for t in _iterations(range(1, judged.config.iterations + 1), config):
            if judged.has(StageKind.TRANSLATIONS, t):
                for origin, by_language in judged.responses(t).items():
                    yield RatedAnswers(JudgingTask.RESPONSES, t, by_language, f"{scoring.RATING}_{origin}")


def _benchmarks(run: RunConfig, config: JudgingConfig) -> tuple[str, ...]:
    """Those that are named, or all of the run."""
    for name in config.benchmarks:
        if name not in run.asked_benchmarks:
            raise LidrError(
                f"{name!r} is no benchmark of the run {run.name}",
                where="benchmarks",
                instead=did_you_mean(name, run.asked_benchmarks),
            )
    return config.benchmarks or tuple(run.asked_benchmarks)


def _languages(run: RunConfig, config: JudgingConfig) -> tuple[str, ...]:
    """Those that are named, or all of the run."""
    for code in config.codes:
        if code not in run.languages.all:
            raise LidrError(
                f"{code!r} is no language of the run {run.name}",
                where="codes",
                instead=did_you_mean(code, run.languages.all),
            )
    return config.codes or run.languages.all


def _iterations(there: Sequence[int], config: JudgingConfig) -> list[int]:
    return [t for t in there if not config.iterations or t in config.iterations]


def _advice(config: JudgingConfig) -> str:
    needs = {
        JudgingTask.COMPARISONS: "evaluate at least M_1, or name an opponent for M_0: opponents=[...]",
        JudgingTask.RATINGS: "evaluate a benchmark: evaluation=[...]",
        JudgingTask.PAIRS: "let the run make pairs",
        JudgingTask.RESPONSES: "let the run translate",
    }
    return "; ".join(needs[task] for task in config.tasks) or "type tasks=[comparisons]"


def _ask(
    judge: Judge,
    engine: Engine,
    compared: Sequence[Compared],
    rated: Sequence[RatedAnswers],
    config: JudgingConfig,
) -> None:
    jobs = [
        comparison_job(own, judge.config, _replies(judge, group, code), both_orders=config.both_orders)
        for group in compared
        for code, own in group.by_language.items()
    ]
    jobs += [
        rating_job(own, judge.config, _replies(judge, group, code))
        for group in rated
        for code, own in group.by_language.items()
    ]
    log.info("%s: %d questions in all", judge.name, sum(job.count for job in jobs))
    for job in jobs:
        job.path.parent.mkdir(parents=True, exist_ok=True)
    complete_all(jobs, engine, f"judge {judge.name}")


def _folder(judge: Judge, group: Compared | RatedAnswers) -> Path:
    what = COMPARISONS if isinstance(group, Compared) else group.metric
    return _outcomes_folder(judge.folder, group.name, group.iteration, what)


def _outcomes_folder(folder: Path, subject: str, iteration: int, what: str) -> Path:
    return folder / f"iteration-{iteration}" / subject.replace(" ", "-") / what


def judged_outcomes(run: Path, judge: str, subject: str, iteration: int, metric: str) -> list[Outcome]:
    """What each comparison or rating came to, as `judge_run` left it; none where nothing of the kind was judged.

    Args:
        subject: what was judged, such as ``lab vs initial`` or ``pairs``.
        metric: a rating's name, or any metric of comparisons.
    """
    is_rating = metric.startswith(scoring.RATING)
    what = metric if is_rating else COMPARISONS
    found = outcomes.read(_outcomes_folder(run / FOLDER / judge, subject, iteration, what))
    if not is_rating or metric == scoring.RATING:
        return found
    return [
        replace(o, values={**o.values, metric: o.values[scoring.RATING]})
        for o in found
        if scoring.RATING in o.values
    ]


def _replies(judge: Judge, group: Compared | RatedAnswers, code: str) -> Path:
    return _folder(judge, group) / f"{code}.jsonl"


def _scores(
    own: Sequence[Judge],
    compared: Sequence[Compared],
    rated: Sequence[RatedAnswers],
    judged: Judged,
    config: JudgingConfig,
) -> list[Score]:
    """All scores, each judge's beside its replies, and their agreement."""
    by_judge: dict[str, list[Score]] = {judge.name: [] for judge in own}
    languages, verdicts = judged.config.languages, agreeing.Verdicts()
    for judge in own:
        for group in compared:
            found = _compared_outcomes(judge, group, config, verdicts)
            found = _beside_others(found, _folder(judge, group), languages)
            place = Place(f"{group.name}@{judge.name}", group.iteration, languages)
            is_pairs = group.name == JudgingTask.PAIRS
            metrics = scoring.PAIR_METRICS if is_pairs else scoring.COMPARISON_METRICS
            by_judge[judge.name] += scoring.comparison_scores(place, found, metrics, config.gates)
        for answers in rated:
            found = _rated_outcomes(judge, answers, verdicts)
            found = _beside_others(found, _folder(judge, answers), languages)
            place = Place(f"{answers.name}@{judge.name}", answers.iteration, languages)
            by_judge[judge.name] += scoring.rating_scores(
                place, found, mean_over_languages=config.mean_ratings, metric=answers.metric
            )
    agreement = agreeing.scores(verdicts, languages) if len(own) > 1 else []
    for judge in own:
        named = [replace(score, judge=judge.name) for score in by_judge[judge.name]]
        by_judge[judge.name] = agreeing.gated(named, agreement, config.gates, languages)
        add_scores(judge.folder, by_judge[judge.name])
    if agreement:
        add_scores(own[0].folder.parent / AGREEMENT, agreement)
    return [score for scores in by_judge.values() for score in scores] + agreement


def _beside_others(found: Sequence[Outcome], folder: Path, languages: LanguagesConfig) -> list[Outcome]:
    """What was judged now and, of other languages, before; written as it is returned."""
    now, order = {o.language for o in found}, {code: place for place, code in enumerate(languages.all)}
    before = [o for o in outcomes.read(folder) if o.language not in now and o.language in order]
    every = sorted([*found, *before], key=lambda o: order[o.language])
    outcomes.write(folder, every)
    return every


def _compared_outcomes(
    judge: Judge, group: Compared, config: JudgingConfig, verdicts: agreeing.Verdicts
) -> list[Outcome]:
    found = []
    for code, own in group.by_language.items():
        said = preferences(own, judge.config, _replies(judge, group, code), both_orders=config.both_orders)
        for comparison, preference in zip(own, said, strict=True):
            found.append(scoring.compared(comparison, preference))
            if comparison.is_open:
                winner = _winner(preference)
                verdicts.note((group.name, group.iteration, code), comparison.key, judge.name, winner)
    return found


def _rated_outcomes(judge: Judge, group: RatedAnswers, verdicts: agreeing.Verdicts) -> list[Outcome]:
    found = []
    for code, own in group.by_language.items():
        values = ratings(own, judge.config, _replies(judge, group, code))
        for answer, value in zip(own, values, strict=True):
            found.append(scoring.rated(answer, value))
            verdicts.note((group.name, group.iteration, code), answer.key, judge.name, value, group.metric)
    return found


def _winner(preference: Preference) -> int | None:
    """1, 0 or -1; orders that contradict each other are a tie, also where probabilities lean to one side."""
    if preference.value is None:
        return None
    if preference.consistent is False:
        return 0
    return (preference.value > 0.5) - (preference.value < 0.5)
