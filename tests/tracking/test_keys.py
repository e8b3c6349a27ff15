from __future__ import annotations

from pathlib import Path

import pytest

from lidr.config import TrackingMode
from lidr.tracking import score_key
from lidr.tracking.keys import audit_values, training_values
from lidr.tracking.mirror import choose_mode
from lidr.tracking.tracker import sample_pairs

from .samples import FakeScore, pairs, step


def test_mode_is_chosen_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mode, reason = choose_mode(TrackingMode.WANDB)
    assert mode == "offline"
    assert "WANDB_API_KEY" in reason
    assert choose_mode(TrackingMode.NONE)[0] is None
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password hidden\n")
    (tmp_path / "netrc").chmod(0o600)
    assert choose_mode(TrackingMode.WANDB)[0] == "online"
    assert choose_mode(TrackingMode.OFFLINE)[0] == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert choose_mode(TrackingMode.WANDB)[0] is None
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert choose_mode(TrackingMode.WANDB)[0] == "offline"
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_API_KEY", "hidden")
    assert choose_mode(TrackingMode.WANDB)[0] == "online"


def test_keys() -> None:
    assert score_key(FakeScore("mean non-dominant", 1, 0.5)) == "eval/lab/mean-non-dominant/accuracy"
    assert score_key(FakeScore("all", 1, 0.5, "imbalance_gap_joint")) == "gap/lab/joint"
    values = training_values(step(3, 2), 2, 3, before=10)
    assert values["train/step_total"] == 13
    assert values["iteration-2/loss"] == values["train/loss"]
    assert "iteration-2/margin/es" not in values
    assert dict(audit_values({"kept": 3, "dropped": {"empty": 1}, "detector": {"name": "x"}})) == {
        "pairs/kept": 3,
        "pairs/dropped/empty": 1,
    }


def test_the_sample_is_the_same_every_time_and_differs_by_iteration(tmp_path: Path) -> None:
    path = pairs(tmp_path, 200)
    first = sample_pairs(path, 10, seed=0, iteration=1)
    assert first == sample_pairs(path, 10, seed=0, iteration=1)
    assert [row[1] for row in first] == sorted((row[1] for row in first), key=int)
    assert [row[1] for row in first] != [row[1] for row in sample_pairs(path, 10, seed=0, iteration=2)]
    assert sample_pairs(path, 0, seed=0, iteration=1) == []
