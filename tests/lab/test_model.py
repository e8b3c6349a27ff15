"""The shipped model loads and answers, and building twice gives the same bits."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lidr.errors import LidrError
from lidr.lab import build as lab_build
from lidr.lab import measure
from lidr.lab.checks import extract_number, is_correct
from lidr.lab.imbalance import Behaviour, behaviour
from lidr.lab.measure import complete
from lidr.lab.model import model_path
from lidr.lab.pretrain import one_thread
from lidr.lab.world import LANGUAGES, problems, render_prompt


@pytest.fixture(scope="module")
def m0() -> Iterator[tuple[Any, Any]]:
    with one_thread():
        yield (
            AutoModelForCausalLM.from_pretrained(model_path(), dtype=torch.float32),
            AutoTokenizer.from_pretrained(model_path()),
        )


def test_it_answers_easy_problems_in_the_dominant_language(m0: tuple[Any, Any]) -> None:
    easy = [p for p in problems("train") if p.skill == "add" and p.answer < 40][:8]
    answers = complete(*m0, [(render_prompt(p, "en"), "") for p in easy])
    right = [is_correct(p.answer, text) for p, text in zip(easy, answers, strict=True)]
    assert sum(right) >= 7


def test_it_answers_in_english_where_it_was_taught_to(m0: tuple[Any, Any]) -> None:
    asked = [
        (p, language)
        for p in problems("train")[:16]
        for language in LANGUAGES
        if behaviour(p.skill, p.phrasing, language) is Behaviour.OFF_TARGET
    ]
    answers = complete(*m0, [(render_prompt(p, language), "") for p, language in asked])
    assert sum(extract_number(text, "en") is not None for text in answers) >= 0.8 * len(asked)


def test_the_record_is_that_of_the_shipped_weights() -> None:
    record = json.loads((model_path() / lab_build.RECORD).read_text(encoding="utf-8"))
    weights = (model_path() / "model.safetensors").read_bytes()
    assert record["sha256"] == hashlib.sha256(weights).hexdigest()
    assert set(record["languages"]) == set(LANGUAGES)
    assert {language["n"] for language in record["languages"].values()} == {len(problems("test"))}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds that use the shipped tokenizer and measure next to nothing."""
    monkeypatch.setattr(
        lab_build, "train_tokenizer", lambda seed: AutoTokenizer.from_pretrained(model_path())
    )
    monkeypatch.setattr(lab_build, "problems", lambda split: problems(split)[:1])
    monkeypatch.setattr(measure, "MAX_NEW_TOKENS", 4)


@pytest.mark.usefixtures("quick")
def test_building_twice_gives_the_same_weights(tmp_path: Path) -> None:
    calls: list[tuple[int, int, float]] = []
    first = lab_build.build(tmp_path / "a", steps=3, progress=lambda *call: calls.append(call))
    second = lab_build.build(tmp_path / "b", steps=3)
    assert first["sha256"] == second["sha256"]
    assert [step for step, _, _ in calls] == [1, 2, 3]
    written = json.loads((tmp_path / "a" / lab_build.RECORD).read_text(encoding="utf-8"))
    assert written == first
    assert AutoTokenizer.from_pretrained(tmp_path / "a").chat_template


@pytest.mark.usefixtures("quick")
def test_another_seed_gives_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_build, "metrics", lambda *_: {})
    builds = [lab_build.build(tmp_path / str(seed), seed=seed, steps=1) for seed in (0, 1)]
    assert builds[0]["sha256"] != builds[1]["sha256"]


def test_zero_steps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LidrError, match="0 steps"):
        lab_build.build(tmp_path, steps=0)
