"""How far several judges agree, per language: kappa and alpha, and the gate that rests on alpha."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lidr.config import LanguagesConfig
from lidr.config.judge_schema import AGREEMENT, GatesConfig
from lidr.evaluation.agreement import cohen_kappa, fleiss_kappa, interval, krippendorff_alpha, nominal
from lidr.evaluation.scores import Score
from lidr.judging.scoring import mark

KAPPA, ALPHA = "kappa", "alpha"
_COMPARED = ""
_Group = tuple[str, int, str]  # benchmark, t of M_t, language


@dataclass
class Verdicts:
    """What each judge said of each item, by group and by what was asked: ratings by their metric, else a winner."""

    groups: dict[tuple[_Group, str], dict[str, dict[str, float | None]]] = field(default_factory=dict)

    def note(
        self, group: _Group, item: str, judge: str, value: float | None, metric: str = _COMPARED
    ) -> None:
        """Adds a verdict: 1, 0, -1 for a comparison, or a rating; None where a reply could not be read."""
        self.groups.setdefault((group, metric), {}).setdefault(item, {})[judge] = value


def scores(verdicts: Verdicts, languages: LanguagesConfig) -> list[Score]:
    """Kappa of comparisons and alpha of comparisons and ratings, by benchmark, model and language; n counts items.

    Cohen's kappa for two judges and Fleiss' for more; alpha with a nominal distance for comparisons and an interval
    distance for ratings.
    """
    order = {code: place for place, code in enumerate(languages.all)}
    found = []
    for (group, metric), items in sorted(
        verdicts.groups.items(), key=lambda g: (*g[0][0][:2], order[g[0][0][2]], g[0][1])
    ):
        benchmark, iteration, language = group
        names = sorted({judge for said in items.values() for judge in said})
        table = [[said.get(name) for name in names] for said in items.values()]
        values = {ALPHA: krippendorff_alpha(table, interval if metric else nominal)}
        if not metric:
            values[KAPPA] = _kappa(table)
        found += [
            Score(
                f"{benchmark}@{AGREEMENT}",
                language,
                iteration,
                _name(name, metric),
                value,
                None,
                None,
                len(table),
                judge=AGREEMENT,
            )
            for name, value in values.items()
        ]
    return found


def gated(
    own: Sequence[Score], agreement: Sequence[Score], gates: GatesConfig, languages: LanguagesConfig
) -> list[Score]:
    """A judge's scores with the gate of the alpha of what they rest on."""
    least = gates.alpha
    if least is None or not agreement:
        return list(own)
    below: dict[tuple[str, int, str], dict[str, str]] = {
        (s.subject, s.iteration, s.metric): {} for s in agreement if s.metric.startswith(ALPHA)
    }
    for s in agreement:
        if s.metric.startswith(ALPHA) and (s.value is None or s.value < least):
            shown = "unknown" if s.value is None else f"{s.value:.2f}"
            reason = f"alpha of the judges {shown} < {least:g}"
            below[s.subject, s.iteration, s.metric][s.language] = reason
    result = list(own)
    for (benchmark, iteration, metric), reasons in below.items():
        rated = metric.removeprefix(ALPHA).lstrip("_")
        result = [
            marked
            for s in result
            for marked in (
                mark([s], reasons, languages)
                if _rests_on(s, benchmark, iteration, rated) and s.gate is None
                else [s]
            )
        ]
    return result


def _rests_on(score: Score, benchmark: str, iteration: int, rated: str) -> bool:
    """Whether a score is made of these verdicts."""
    if score.subject != benchmark or score.iteration != iteration:
        return False
    return score.metric == rated if rated else not score.metric.startswith("rating")


def _name(statistic: str, metric: str) -> str:
    return f"{statistic}_{metric}" if metric else statistic


def _kappa(table: Sequence[Sequence[float | None]]) -> float | None:
    if len(table[0]) == 2:
        return cohen_kappa([row[0] for row in table], [row[1] for row in table])
    return fleiss_kappa(table)
