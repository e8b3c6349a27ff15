"""What a search goes by."""

from __future__ import annotations

import pytest

from lidr.commands.sweep import score_of
from lidr.config import identity
from lidr.errors import ConfigError
from lidr.evaluation.scores import Score
from tests.changed import base, changed

LAB = base("experiment=lab")


def score(language: str, metric: str, iteration: int, value: float) -> Score:
    return Score("lab", language, iteration, metric, value, None, None, 320)


SCORES = [
    score("mean non-dominant", "accuracy", 1, 0.6),
    score("mean non-dominant", "accuracy", 2, 0.7),
    score("mean non-dominant", "on_target", 2, 0.9),
    score("es", "accuracy", 2, 0.8),
    score("all", "imbalance_gap", 2, 0.1),
]


def test_without_a_key_it_is_the_last_models_accuracy_over_the_non_dominant_languages() -> None:
    assert score_of(LAB, SCORES) == 0.7
    assert score_of(LAB, [s for s in SCORES if s.metric != "accuracy"]) == 0.9
    assert score_of(LAB, SCORES[:1]) is None, "M_1 is not the last model"


@pytest.mark.parametrize(("key", "value"), [("eval/lab/es/accuracy", 0.8), ("gap/lab/accuracy", 0.1)])
def test_a_key_is_as_in_wandb_and_names_no_other_run(key: str, value: float) -> None:
    config = changed(LAB, score=key)
    assert score_of(config, SCORES) == value
    assert identity(config) == identity(LAB)


@pytest.mark.parametrize(
    "key", ["", "accuracy", "eval/mgsm/es/accuracy", "eval/lab/xx/accuracy", "eval/lab/es", "lab/es/x/y"]
)
def test_a_key_that_no_run_could_have_is_refused_beforehand(key: str) -> None:
    with pytest.raises(ConfigError, match="score=eval/lab/mean-non-dominant/accuracy"):
        changed(LAB, score=key)
