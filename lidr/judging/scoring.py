"""From preferences and ratings to scores: per language, with intervals, p-values and gates.

A judge's scale is its own in every language: win rates are shares of comparisons within a language and may be
averaged, ratings of different languages are averaged only where that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lidr.config import LanguagesConfig
from lidr.config.judge_schema import GatesConfig
from lidr.evaluation.length_control import length_controlled
from lidr.evaluation.outcomes import Outcome, observations
from lidr.evaluation.run import aggregates
from lidr.evaluation.scores import MEAN_NON_DOMINANT, MEAN_UNSEEN, Score
from lidr.evaluation.significance import holm, permutation_test
from lidr.evaluation.statistics import Observation, mean, mean_of_groups
from lidr.judging.questions import Comparison, Rated
from lidr.judging.verdicts import HIGHEST, LOWEST, Preference

WIN_RATE, LC_WIN_RATE, SWAP_CONSISTENCY, RATING = "win_rate", "lc_win_rate", "swap_consistency", "rating"
REWARD_ACCURACY = "reward_accuracy"
COMPARISON_METRICS = (WIN_RATE, LC_WIN_RATE, "win", "tie", "lose", SWAP_CONSISTENCY, "first_wins", "unread")
PAIR_METRICS = (REWARD_ACCURACY, WIN_RATE, "tie", SWAP_CONSISTENCY, "first_wins", "unread")
SCALE = (LOWEST, HIGHEST)


@dataclass(frozen=True)
class Place:
    """Where scores belong: benchmark as it stands in tables, t of M_t."""

    benchmark: str
    iteration: int
    languages: LanguagesConfig


def compared(comparison: Comparison, found: Preference) -> Outcome:
    """What a comparison came to, metric by metric; lengths in characters, first_wins over both orders."""
    value = found.value
    values = {"unread": float(value is None)}
    if value is not None:
        values |= {
            WIN_RATE: value,
            "win": float(value > 0.5),
            "tie": float(value == 0.5),
            "lose": float(value < 0.5),
        }
        if value != 0.5:
            values[REWARD_ACCURACY] = float(value > 0.5)
    if found.consistent is not None:
        values[SWAP_CONSISTENCY] = float(found.consistent)
    if comparison.is_open and None not in found.winners:
        given, swapped = found.winners
        values["first_wins"] = ((given or 0.0) + 1 - (swapped or 0.0)) / 2
    lengths = {"length": float(len(comparison.answer)), "other_length": float(len(comparison.other))}
    return Outcome(comparison.id, comparison.language, values | lengths)


def rated(answer: Rated, value: float | None) -> Outcome:
    """What a rating came to."""
    given = {} if value is None else {RATING: value}
    return Outcome(answer.id, answer.language, {"unread": float(value is None)} | given)


def comparison_scores(
    place: Place, found: Sequence[Outcome], metrics: Sequence[str], gates: GatesConfig
) -> list[Score]:
    """Scores of comparisons: every language, then the means over the non-dominant and the unseen ones.

    p: of a win rate against one half, by exchanging the two answers of each prompt; Holm-adjusted over languages.
    """
    codes = _present(place, found)
    scores = [score for metric in metrics for score in _comparison_metric(place, found, metric, codes)]
    return _gated(_tested(scores, found, codes, metrics[0]), gates, place.languages)


def rating_scores(
    place: Place, found: Sequence[Outcome], *, mean_over_languages: bool, metric: str = RATING
) -> list[Score]:
    """Scores of ratings, 0 to 10, and the share of replies without one.

    Args:
        mean_over_languages: also average languages, though a judge's scale is not the same in all of them.
        metric: what the ratings are called.
    """
    codes = _present(place, found)
    scores = []
    for name, source, bounds in ((metric, RATING, SCALE), (f"{metric}_unread", "unread", (0.0, 1.0))):
        seen = observations(found, source)
        for code in codes:
            estimate = mean((o for o in seen if o.group == code), bounds=bounds)
            scores.append(Score.of(place.benchmark, code, place.iteration, name, estimate))
        if mean_over_languages or source == "unread":
            scores += _means(place, seen, name, codes, bounds)
    return scores


def _present(place: Place, found: Sequence[Outcome]) -> list[str]:
    spoken = {o.language for o in found}
    return [code for code in place.languages.all if code in spoken]


def _comparison_metric(
    place: Place, found: Sequence[Outcome], metric: str, codes: Sequence[str]
) -> Iterator[Score]:
    if metric == LC_WIN_RATE:
        for code in codes:
            yield _length_controlled(place, found, code)
        return
    seen = observations(found, metric)
    for code in codes:
        estimate = mean(o for o in seen if o.group == code)
        yield Score.of(place.benchmark, code, place.iteration, metric, estimate)
    yield from _means(place, seen, metric, codes, (0.0, 1.0))


def _means(
    place: Place,
    seen: Sequence[Observation],
    metric: str,
    codes: Sequence[str],
    bounds: tuple[float, float],
) -> Iterator[Score]:
    for label, group in zip(
        (MEAN_NON_DOMINANT, MEAN_UNSEEN), aggregates(place.languages, codes), strict=True
    ):
        if group:
            estimate = mean_of_groups(seen, group, bounds=bounds)
            yield Score.of(place.benchmark, label, place.iteration, metric, estimate)


def _length_controlled(place: Place, found: Sequence[Outcome], code: str) -> Score:
    own = [o.values for o in found if o.language == code and WIN_RATE in o.values]
    estimate = length_controlled(
        [v[WIN_RATE] for v in own],
        [int(v["length"]) for v in own],
        [int(v["other_length"]) for v in own],
    )
    return Score.of(place.benchmark, code, place.iteration, LC_WIN_RATE, estimate)


def _tested(
    scores: Sequence[Score], found: Sequence[Outcome], codes: Sequence[str], metric: str
) -> list[Score]:
    """With the p-values of the first metric, a share of one half being no difference."""
    seen = observations(found, metric)
    against = [Observation(o.cluster, o.group, 1 - o.value) for o in seen]
    adjusted = holm([permutation_test(seen, against, {code: 1.0}) for code in codes])
    by_language = dict(zip(codes, adjusted, strict=True))
    return [
        replace(s, p=by_language[s.language]) if s.metric == metric and s.language in by_language else s
        for s in scores
    ]


def _gated(scores: Sequence[Score], gates: GatesConfig, languages: LanguagesConfig) -> list[Score]:
    """Marks what a judge says in a language in which it contradicts itself too often."""
    least = gates.swap_consistency
    if least is None:
        return list(scores)
    below = {
        s.language: f"swap consistency {s.value:.2f} < {least:g}"
        for s in scores
        if s.metric == SWAP_CONSISTENCY and s.language in languages.all
        if s.value is not None and s.value < least
    }
    return mark(scores, below, languages, except_for=(SWAP_CONSISTENCY,))


def mark(
    scores: Sequence[Score],
    below: Mapping[str, str],
    languages: LanguagesConfig,
    except_for: Sequence[str] = (),
) -> list[Score]:
    """Sets the gate of scores by language; a mean has that of any language in it."""
    reasons = dict(below)
    for label, codes in ((MEAN_NON_DOMINANT, languages.non_dominant), (MEAN_UNSEEN, languages.unseen)):
        inside = [f"{code}: {below[code]}" for code in codes if code in below]
        if inside:
            reasons.setdefault(label, "; ".join(inside))
    return [
        replace(s, gate=reasons[s.language]) if s.language in reasons and s.metric not in except_for else s
        for s in scores
    ]
