"""From a judge's replies to preferences and ratings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from lidr.config.judge_schema import JudgeConfig, LabelsConfig, Verdict
from lidr.records import Reply

LOWEST, HIGHEST = 0.0, 10.0  # of a rating
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)?")


class Preference(NamedTuple):
    """Of one comparison.

    value: 0 to 1, 1 where the model's answer is preferred; None where no reply could be read.
    consistent: whether both orders name the same winner (or both a tie); None where one order was asked or read.
    winners: of the replies in the given order and in the swapped one, 1 the model's, 0 the opponent's, 0.5 a tie.
    """

    value: float | None
    consistent: bool | None
    winners: tuple[float | None, float | None]


def preference(given: Reply, swapped: Reply | None, judge: JudgeConfig) -> Preference:
    """What both orders come to: text verdicts that disagree are a tie, probabilities are averaged.

    Args:
        given: the reply to the question with the model's answer first.
        swapped: with the opponent's first; None where one order was asked.
    """
    first = first_wins(given, judge)
    second = None if swapped is None else first_wins(swapped, judge)
    values = (first, None if second is None else 1 - second)
    winners = (_winner(values[0]), _winner(values[1]))
    if swapped is None:
        return Preference(values[0], None, winners)
    if values[0] is None or values[1] is None:
        return Preference(None, None, winners)
    consistent = winners[0] == winners[1]
    if judge.verdict is Verdict.LOGPROBS:
        return Preference((values[0] + values[1]) / 2, consistent, winners)
    return Preference(winners[0] if consistent else 0.5, consistent, winners)


def first_wins(reply: Reply, judge: JudgeConfig) -> float | None:
    """1 where a reply prefers the first answer it was shown, 0 the second, 0.5 neither; between them a probability.

    Returns:
        None where it says none of this.
    """
    labels = judge.wording.labels
    if judge.verdict is Verdict.LOGPROBS:
        return _by_probability(reply.log_probs, labels)
    found = list(re.finditer(judge.wording.comparison_pattern, reply.reply))
    if not found:
        return None
    if judge.verdict is Verdict.SCORES:
        scores = [_on_scale(text) for text in found[-1].groups()]
        if len(scores) != 2 or scores[0] is None or scores[1] is None:
            return None
        return 0.5 if scores[0] == scores[1] else float(scores[0] > scores[1])
    named = {labels.first: 1.0, labels.second: 0.0} | ({} if labels.tie is None else {labels.tie: 0.5})
    by_label = {label.casefold(): value for label, value in named.items()}
    return by_label.get((found[-1][1] or "").strip().casefold())


def rating(reply: Reply, judge: JudgeConfig) -> float | None:
    """The rating a reply gives, 0 to 10; None where it gives none, or one off the scale."""
    found = list(re.finditer(judge.wording.rating_pattern, reply.reply))
    return _on_scale(found[-1][1] or "") if found else None


def _winner(value: float | None) -> float | None:
    return None if value is None else 0.5 if value == 0.5 else float(value > 0.5)


def _by_probability(log_probs: Mapping[str, float] | None, labels: LabelsConfig) -> float | None:
    """The first label's share of the probability of both; a label the server did not list has none."""
    if not log_probs:
        return None
    shares = [
        math.exp(log_probs[label]) if label in log_probs else 0.0 for label in (labels.first, labels.second)
    ]
    return shares[0] / sum(shares) if sum(shares) else None


def _on_scale(text: str | None) -> float | None:
    number = _NUMBER.search(text or "")
    if number is None:
        return None
    value = float(number[0].replace(",", "."))
    return value if LOWEST <= value <= HIGHEST else None
