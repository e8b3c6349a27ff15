"""Reward accuracy of checkable pairs: how often the preference points at the right answer.

The paper asks a judge which answer of a pair is better; where answers can be checked the judge is exact. A
pair in which both answers are right, or both wrong, says nothing about the direction and is left out of
``reward_accuracy``; ``decided`` is the share of pairs that say something.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lidr.config import LanguagesConfig
from lidr.evaluation.scores import ALL, PAIRS, Score
from lidr.evaluation.statistics import Observation, mean
from lidr.lab.checks import is_correct
from lidr.records import Pair

METRICS = ("reward_accuracy", "decided", "chosen_correct", "rejected_correct")
NL_PAIRS = "nl pairs"


def reward_accuracy(
    pairs: Iterable[Pair], answers: Mapping[str, int], languages: LanguagesConfig, iteration: int
) -> list[Score]:
    """Scores per language, over the nl pairs and over all pairs; `n` counts problems, not pairs.

    Args:
        pairs: those whose id has no answer are passed over.
        answers: the right number by prompt id.
        languages: the pairs of type en are the dominant language's, all others are of type nl.
        iteration: t of the model the pairs train, M_t.
    """
    measured: dict[str, list[Observation]] = {m: [] for m in METRICS}
    for pair in pairs:
        if pair.id in answers:
            for metric, value in _judge(pair, answers[pair.id]).items():
                measured[metric].append(Observation(pair.id, pair.language, value))
    rows = {code: {code} for code in languages.trained}
    rows |= {NL_PAIRS: set(languages.non_dominant), ALL: set(languages.trained)}
    present = {o.group for o in measured["chosen_correct"]}
    return [
        Score.of(PAIRS, row, iteration, metric, mean(o for o in measured[metric] if o.group in codes))
        for row, codes in rows.items()
        if codes & present
        for metric in METRICS
    ]


def _judge(pair: Pair, answer: int) -> dict[str, float]:
    chosen, rejected = is_correct(answer, pair.chosen), is_correct(answer, pair.rejected)
    values = {
        "chosen_correct": float(chosen),
        "rejected_correct": float(rejected),
        "decided": float(chosen != rejected),
    }
    return values | ({"reward_accuracy": float(chosen)} if chosen != rejected else {})
