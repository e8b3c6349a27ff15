"""How each metric is called and written."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lidr.evaluation.scores import IMBALANCE_GAP

MISSING = "-"


@dataclass(frozen=True)
class MetricStyle:
    """A metric in words.

    unit: behind the title; shares are shown as percentages, their differences in percentage points.
    meaning: one sentence for the report.
    """

    title: str
    unit: str
    meaning: str
    scale: float = 100.0
    digits: int = 1


def _rating(meaning: str) -> MetricStyle:
    return MetricStyle("Rating", "0 to 10", meaning, 1.0, 2)


_STYLES = {
    "accuracy": MetricStyle("Accuracy", "%", "the answer is right, in whatever language"),
    "accuracy_norm": MetricStyle(
        "Accuracy by length",
        "%",
        "the right option is the most likely one, its log-likelihood divided by its length",
    ),
    "mc1": MetricStyle("MC1", "%", "the best answer is the most likely one"),
    "mc2": MetricStyle("MC2", "%", "share of the probability of all answers that is on true ones"),
    "joint": MetricStyle("Right and on target", "%", "right, and in the prompt's language"),
    "on_target": MetricStyle("On-target rate", "%", "the answer is in the prompt's language"),
    "off_target": MetricStyle("Off-target rate", "%", "the answer is in another language than the prompt"),
    "undetermined": MetricStyle("Undetermined language", "%", "the answer's language cannot be told"),
    "off_target_lines": MetricStyle(
        "Off-target lines", "%", "mean share of an answer's lines in another language than the prompt"
    ),
    "truncated": MetricStyle("Truncated answers", "%", "cut at the limit of new tokens"),
    "extraction_failed": MetricStyle(
        "Failed extractions", "%", "the answer holds no number: counted as wrong"
    ),
    "empty": MetricStyle("Empty answers", "%", "no text at all"),
    "characters": MetricStyle("Answer length", "characters", "mean over answers", 1.0),
    "tokens": MetricStyle("Answer length in tokens", "tokens", "mean over answers", 1.0),
    "reward_accuracy": MetricStyle(
        "Reward accuracy",
        "%",
        "the chosen answer is the better one, among pairs in which one is better: by exact checks, or by a judge",
    ),
    "win_rate": MetricStyle(
        "Win rate", "%", "comparisons the model wins, ties counted as half; p tests it against 50 %"
    ),
    "lc_win_rate": MetricStyle(
        "Win rate at equal length", "%", "by a logistic regression on the difference in length"
    ),
    "win": MetricStyle("Wins", "%", "comparisons in which the model's answer is preferred"),
    "tie": MetricStyle("Ties", "%", "no preference, or another one when the answers are exchanged"),
    "lose": MetricStyle("Losses", "%", "comparisons in which the opponent's answer is preferred"),
    "swap_consistency": MetricStyle(
        "Swap consistency", "%", "both orders of the answers name the same winner, among open comparisons"
    ),
    "first_wins": MetricStyle(
        "First answer wins", "%", "over both orders; far from 50 % the judge prefers a position"
    ),
    "unread": MetricStyle("Unread replies", "%", "no verdict could be read from them: left out"),
    "rating": _rating("the judge's, 0 to 10; its scale differs between languages"),
    "rating_self_generated": _rating("of answers the model wrote in the language"),
    "rating_self_translated": _rating("of answers it translated into the language"),
    "kappa": MetricStyle("Kappa", "", "agreement of the judges beyond chance, over comparisons", 1.0, 2),
    "alpha": MetricStyle("Krippendorff's alpha", "", "agreement of the judges, over comparisons", 1.0, 2),
    "chosen_drift": MetricStyle(
        "Drift of the chosen answers", "nats", "log-prob under the policy minus under the reference", 1.0
    ),
    "pairs": MetricStyle("Pairs trained on", "pairs", "of all types and languages", 1.0, 0),
    "steps": MetricStyle("Optimizer steps", "steps", "of one training", 1.0, 0),
    "repetition": MetricStyle(
        "Repetitive answers", "%", "more than half of the answer lies in runs that recur"
    ),
    "both_on_target": MetricStyle(
        "Both on target", "%", "both compared answers are in the prompt's language"
    ),
    "win_rate_on_target": MetricStyle(
        "Win rate where both are on target", "%", "comparisons of two answers in the prompt's language"
    ),
    "intact": MetricStyle("Rating of whole answers", "0 to 10", "the same content in every language", 1.0, 2),
    "offset": MetricStyle("Offset", "points", "rating of whole answers minus the first language's", 1.0, 2),
    "slope": MetricStyle("Points a step of damage", "points", "a quarter of the answer taken away", 1.0, 2),
    "lexical_variety": MetricStyle("Different words in 10", "%", "mean over all windows of 10 words"),
    "sentence_length": MetricStyle("Words a sentence", "words", "letters where a script has no spaces", 1.0),
    "compressed": MetricStyle(
        "Deflated size", "%", "of a text's bytes; lower where it repeats itself, and the longer it is"
    ),
    "overlap_exact": MetricStyle("Prompts trained on", "%", "the same words as a training prompt"),
    "overlap_8": MetricStyle("Prompts with 8 words trained on", "%", "in a row, in a training prompt"),
    "overlap_13": MetricStyle("Prompts with 13 words trained on", "%", "in a row, in a training prompt"),
    "decided": MetricStyle("Decided pairs", "%", "pairs in which exactly one answer is right"),
    "chosen_correct": MetricStyle("Chosen answers right", "%", "over all pairs"),
    "rejected_correct": MetricStyle("Rejected answers right", "%", "over all pairs"),
}


def style(metric: str) -> MetricStyle:
    """The style of a metric; one that is not known is shown under its own name."""
    if metric.startswith(IMBALANCE_GAP):
        of = metric.removeprefix(IMBALANCE_GAP).lstrip("_") or "accuracy"
        title = f"Imbalance gap in {style(of).title.lower()}"
        return MetricStyle(title, "points", "dominant minus mean non-dominant")
    return _STYLES.get(metric, MetricStyle(metric, "", "", 1.0, 3))


def written(
    metric: str,
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    signed: bool = False,
    digits: int | None = None,
) -> str:
    """A value with its interval, as in ``52.3 [48.0, 56.7]``; a missing one is a dash.

    Args:
        metric: says the unit, and the digits behind the point where `digits` does not.
        value, low, high: as they are stored.
        signed: with a plus sign, as of a difference.
        digits: behind the point.
    """
    if value is None:
        return MISSING
    form = style(metric)
    sign, places = "+" if signed else "", form.digits if digits is None else digits
    text = _number(value * form.scale, places, sign)
    if low is None or high is None:
        return text
    ends = (_number(end * form.scale, places, sign) for end in (low, high))
    return f"{text} [{', '.join(ends)}]"


def written_p(p: float | None) -> str:
    """A p-value with two digits; below 0.001 only that."""
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _number(value: float, digits: int, sign: str) -> str:
    # The same number, summed in another order, rounds the same way; adding 0 makes a minus zero plain.
    rounded = round(value + math.copysign(1e-9, value), digits) + 0.0
    return f"{rounded:{sign if rounded else ''}.{digits}f}"


def model(iteration: int) -> str:
    """``M_2``."""
    return f"M_{iteration}"
