"""lidr's win rate at equal length beside alpaca_eval's, on synthetic comparisons whose true value is known.

    pip install alpaca_eval    # 0.6.6; in an environment of its own, it brings many packages
    python -m experiments.length_control

Preferences are drawn from P(win) = sigmoid(a + b tanh(difference / s)): b is how far the judge likes length. The
raw win rate mixes both; what it would be at equal length is sigmoid(a). alpaca_eval's model is
`length_controlled_minimal`, its formula without the term for a prompt's difficulty, which is only known for its own
805 prompts. Prints Markdown.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from lidr.evaluation.length_control import length_controlled
from lidr.evaluation.statistics import Array

PROMPTS, DRAWS = 805, 20
SETTINGS = (
    (0.0, 0.0, 0),
    (0.0, 1.5, 300),
    (0.8, 1.5, 300),
    (-0.8, 1.5, 300),
    (0.4, -1.0, -200),
    (1.5, 3.0, 600),
)
_SPREAD = 400  # characters
_FORMULA = "np.tanh(std_delta_len) + not_gamed_baseline.astype(float) - 1"


class Drawn(NamedTuple):
    """Comparisons: preferences 0 or 1, and lengths in characters."""

    preferences: Array
    lengths: Array
    others: Array


def main() -> int:
    """Prints a row for each setting."""
    try:
        from alpaca_eval.metrics import glm_winrate  # type: ignore[import-not-found]
    except ImportError:
        sys.stderr.write("alpaca_eval is not installed: pip install alpaca_eval\n")
        return 2
    sys.stdout.write(
        "| a | b | longer by | raw | true at equal length | lidr | alpaca_eval | apart, at most | covered |\n"
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    )
    for setting in SETTINGS:
        sys.stdout.write(_row(*setting, glm_winrate))
        sys.stdout.flush()
    return 0


def _row(a: float, b: float, longer: int, glm_winrate: object) -> str:
    """Means over draws; how far the two are apart in any draw; in how many the interval holds the truth."""
    truth, rows, covered = 1 / (1 + np.exp(-a)), [], 0
    for seed in range(DRAWS):
        drawn = draw(a, b, longer, seed)
        ours = length_controlled(
            [float(p) for p in drawn.preferences],
            [int(n) for n in drawn.lengths],
            [int(n) for n in drawn.others],
        )
        if ours.value is not None and ours.low is not None and ours.high is not None:
            covered += ours.low <= truth <= ours.high
            theirs = of_alpaca_eval(glm_winrate, drawn)
            rows.append((100 * drawn.preferences.mean(), 100 * ours.value, theirs))
    raw, own, other = np.mean(rows, axis=0)
    apart = max(abs(ours - theirs) for _, ours, theirs in rows)
    numbers = f"{raw:.1f} | {100 * truth:.1f} | {own:.1f} | {other:.1f} | {apart:.1f} | {covered} of {DRAWS}"
    return f"| {a:g} | {b:g} | {longer} | {numbers} |\n"


def draw(a: float, b: float, longer: int, seed: int) -> Drawn:
    """Comparisons from the model above; `longer` is the mean difference, characters."""
    rng = np.random.default_rng(seed)
    others = rng.normal(1500, _SPREAD, PROMPTS).clip(50)
    lengths = (others + rng.normal(longer, _SPREAD, PROMPTS)).clip(10)
    difference = lengths.round() - others.round()
    chance = 1 / (1 + np.exp(-(a + b * np.tanh(difference / difference.std()))))
    return Drawn((rng.random(PROMPTS) < chance).astype(float), lengths.round(), others.round())


def of_alpaca_eval(glm_winrate: object, drawn: Drawn) -> float:
    """Its win rate at equal length, per cent, by its own functions for design matrix and fit."""
    import pandas as pd

    difference = pd.Series(drawn.lengths - drawn.others)
    train = pd.DataFrame(
        {
            "preference": drawn.preferences,
            "std_delta_len": difference / difference.std(),
            "not_gamed_baseline": True,
        }
    )
    at_equal_length = train[["not_gamed_baseline"]].assign(std_delta_len=0.0)
    matrices = glm_winrate.make_dmatrix_for_model(train, at_equal_length, formula=_FORMULA)  # type: ignore[attr-defined]
    model = glm_winrate.fit_LogisticRegressionCV(  # type: ignore[attr-defined]
        matrices[0], "preference", is_ytrue_proba=True, n_splits=5
    )
    return float(100 * model.predict_proba(matrices[1])[:, 1].mean())


if __name__ == "__main__":
    sys.exit(main())
