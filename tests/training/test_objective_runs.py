"""Whole trainings with each objective: what they start at, what they log, and what they leave behind."""

from pathlib import Path
from typing import Any

import pytest

from lidr import jsonl
from lidr.errors import LidrError
from lidr.training import train
from tests.training.conftest import MakeJob

ONE_EPOCH = {"training.epochs": 1}
IPO = {"objective.name": "ipo"}
SIMPO = {"objective.name": "simpo", "objective.beta": 2.0, "objective.target_margin": 1.0}
SMOOTHED = {"objective.label_smoothing": 0.2}
FORWARD_KL = {"objective.divergence": "forward_kl"}


def records(make_job: MakeJob, root: Path, overrides: dict[str, Any]) -> list[dict[str, Any]]:
    job = make_job(root, ONE_EPOCH | overrides)
    train(job)
    return list(jsonl.read(job.metrics))


@pytest.mark.parametrize(
    ("overrides", "term", "first"),
    [(IPO, "ipo", 25.0), (SMOOTHED, "dpo", 0.6931472), (FORWARD_KL, "dpo", 0.6931472)],
    ids=["ipo", "smoothed", "forward_kl"],
)
def test_a_training_starts_where_its_objective_does(
    make_job: MakeJob, tmp_path: Path, overrides: dict[str, Any], term: str, first: float
) -> None:
    """At beta = 0.1 IPO starts at 1 / (4 * 0.01) = 25."""
    start, *_, end = records(make_job, tmp_path, overrides)
    assert start[f"train/{term}"] == pytest.approx(first, abs=1e-5)
    assert start["train/margin"] == start["train/chosen_drift"] == 0.0
    assert end["train/margin"] > 0


def test_simpo_compares_both_answers_without_a_reference(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(tmp_path, SIMPO)
    train(job)
    assert not job.cached_reference.exists()
    start, *_, end = jsonl.read(job.metrics)
    terms = {"loss", "simpo", "nll", "reward_chosen", "reward_rejected", "margin", "accuracy"}
    assert {key.split("/")[1] for key in start if "/" in key} == terms | {"grad_norm", "lr", "tokens"}
    assert end["train/margin"] > start["train/margin"]
    assert start["train/loss"] == pytest.approx(start["train/simpo"] + start["train/nll"], rel=1e-6)


def test_the_gate_of_ipo_names_its_own_number(make_job: MakeJob, tmp_path: Path, stranger: str) -> None:
    with pytest.raises(LidrError, match=r"1/\(4 beta\^2\) = 25\.000000 and 0 were expected"):
        train(make_job(tmp_path, IPO, reference=stranger))


def test_beta_moves_over_the_steps_of_an_iteration(make_job: MakeJob, tmp_path: Path) -> None:
    """Three steps from 0.1 to 0.5: 0.1, 0.3, 0.5, and the rewards with them."""
    logged = records(make_job, tmp_path, {"objective.beta_end": 0.5})
    assert [r["train/beta"] for r in logged] == pytest.approx([0.1, 0.3, 0.5])
    for r in logged:
        expected = r["train/beta"] * r["train/chosen_drift"]
        assert r["train/reward_chosen"] == pytest.approx(expected, rel=1e-5, abs=1e-7)
