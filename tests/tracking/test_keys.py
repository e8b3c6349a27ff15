from __future__ import annotations

from pathlib import Path

import pytest

from lidr.compose import compose_run
from lidr.config import TrackingMode, to_mapping
from lidr.config.identity import flatten
from lidr.errors import ConfigError
from lidr.evaluation import Score
from lidr.tracking import score_key
from lidr.tracking.choosing import choose_mode
from lidr.tracking.keys import HISTORY, SUMMARY, Key, audit_values, axes, group_values, training_values
from lidr.tracking.tables import COLUMNS
from lidr.tracking.workspace import group_keys

PAGE = Path(__file__).parents[2] / "docs" / "wandb.md"


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
    (tmp_path / "netrc").write_bytes(b"\xff\xfe machine")
    assert choose_mode(TrackingMode.WANDB)[0] == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "hidden")
    assert choose_mode(TrackingMode.WANDB)[0] == "online"


def score(language: str, metric: str = "accuracy") -> Score:
    return Score("lab", language, 1, metric, 0.5, None, None, 4)


def test_keys() -> None:
    assert score_key(score("mean non-dominant")) == "eval/lab/mean-non-dominant/accuracy"
    assert score_key(score("all", "imbalance_gap_joint")) == "gap/lab/joint"
    record = {"iteration": 2, "step": 3, "train/loss": 0.5, "train/margin/es": 0.5, "seconds": 0.1}
    values = training_values(record, 2, 3, before=10)
    assert values["train/step_total"] == 13
    assert values["iteration-2/loss"] == values["train/loss"]
    assert "iteration-2/margin/es" not in values
    assert dict(audit_values({"kept": 3, "dropped": {"empty": 1}, "detector": {"name": "x"}})) == {
        "pairs/kept": 3,
        "pairs/dropped/empty": 1,
    }


def test_short_keys_hide_none_of_the_configuration() -> None:
    config = compose_run(["experiment=lab"])
    assert not set(group_values(config)) & set(to_mapping(config))
    assert all("." not in part for key, _ in flatten(to_mapping(config)) for part in [key.split(".")[0]])


def test_a_family_takes_words_where_it_says_so() -> None:
    family = Key("eval/<benchmark>/<language>/<metric>", "", "")
    assert family.matches("eval/lab/es/accuracy")
    assert not family.matches("eval/lab/accuracy")
    assert not family.matches("eval/lab/es/accuracy/more")
    assert Key("pairs/<number/>", "", "").matches("pairs/nl/es/kept")
    assert not Key("pairs/<number/>", "", "").matches("pairs/")


def test_the_page_lists_every_key_axis_and_column() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for key in (*HISTORY, *SUMMARY):
        axis = f"`{key.against}`" if key.against else ""
        assert f"| `{key.name}` | {axis} | {key.meaning} |" in text
    for name, columns in COLUMNS.items():
        assert f"| `{name}` | {', '.join(columns)} |" in text
    for key in group_values(compose_run([])):
        assert f"`{key}`" in text
    assert (
        sum(line.startswith("| `") for line in text.splitlines())
        == len(HISTORY) + len(SUMMARY) + len(COLUMNS) + 1
    )
    assert {against for _, against in axes(1)} == {"train/step_total", "iteration-1/step", "iteration"}


def test_runs_are_grouped_by_what_differs_and_seeds_are_averaged() -> None:
    one, other, beta = (compose_run([*o]) for o in ([], ["seed=1"], ["seed=2", "objective.beta=0.5"]))
    assert group_keys([one], []) == []
    assert group_keys([one, other], []) == ["name"]
    assert group_keys([one, other, beta], []) == ["beta"]
    assert group_keys([one, compose_run(["languages.non_dominant=[es]"])], []) == ["language_set"]
    assert group_keys([one], ["objective.beta", "seed"]) == ["objective.beta", "seed"]
    with pytest.raises(ConfigError, match="did you mean 'language_set'"):
        group_keys([one], ["languageset"])
