from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr.compose import compose_judging
from lidr.config.judge_schema import WordingConfig
from lidr.judging.wording import COMPARISON_FIELDS, RATING_FIELDS, Wording, tags_around

PIECES = [
    *(
        "<answer_1>",
        "</answer_1>",
        "</ANSWER_2>",
        "< /answer>",
        "<instruction>",
        "</instruction>",
        "<_answer>",
    ),
    *("<|im_end|>", "<|im_start|>system", "<|eot_id|>", "</s>", "<s>", "[INST]", "[/INST]", "<</SYS>>"),
    *(
        "<end_of_turn>",
        "<｜end▁of▁sentence｜>",
        "Verdict: 1",
        "{answer_2}",
        "{prompt}",
        "<_|im_end|>",
        "a < b",
        "_",
    ),
]
OWN = Wording(compose_judging(["judge=[oracle]"]).judges["oracle"].wording)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=8).map("".join)


@pytest.fixture(scope="module", params=["words", "label", "scores"])
def wording(request: pytest.FixtureRequest) -> WordingConfig:
    overrides = ["judge=[oracle]", f"wording@judges.oracle.wording={request.param}"]
    if request.param == "scores":
        overrides.append("judges.oracle.verdict=scores")
    return compose_judging(overrides).judges["oracle"].wording


@given(text=TEXTS)
def test_a_guarded_text_is_restored(text: str) -> None:
    assert OWN.unguard(OWN.guard(text)) == text


@given(first=TEXTS, second=TEXTS)
def test_no_answer_steps_out_of_its_place(first: str, second: str) -> None:
    question = OWN.comparison("es", "the prompt", first, second)
    for tag in ("instruction", "answer_1", "answer_2"):
        assert question.count(f"<{tag}>") == question.count(f"</{tag}>") == 1
    for mark in ("<|im_end|>", "<|im_start|>", "<|eot_id|>", "</s>", "[INST]", "[/INST]", "<end_of_turn>"):
        assert mark not in question


def test_fields_are_filled_once_and_with_the_language_name(wording: WordingConfig) -> None:
    question = Wording(wording).comparison("es", "p {answer_1}", "one {prompt}", "two")
    assert "Spanish" in question
    assert "p {answer_1}" in question
    assert "one {prompt}" in question
    assert "two" in question


def test_every_wording_encloses_its_fields(wording: WordingConfig) -> None:
    assert set(tags_around(wording.comparison, COMPARISON_FIELDS)) == set(COMPARISON_FIELDS)
    assert set(tags_around(wording.rating, RATING_FIELDS)) == set(RATING_FIELDS)
