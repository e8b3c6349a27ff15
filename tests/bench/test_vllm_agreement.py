"""The comparison of vLLM's answers with the transformers engine's: where they part, and why."""

from __future__ import annotations

import pytest
import torch

from experiments.bench.vllm_agreement import Case, Difference, compared, table
from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from tests import tiny

CHAT, MODEL = ChatFormat(tiny.tokenizer(), None), tiny.model()
REQUEST = Request("k", "x", "<t>")


def case(penalty: float) -> Case:
    return Case("answers", (REQUEST,), SamplingConfig(8, penalty))


def found(penalty: float, ours: Completion, theirs: Completion) -> list[Difference]:
    return list(compared(MODEL, CHAT, case(penalty), {"k": ours}, {"k": theirs}))


def completion(text: str, reason: FinishReason = FinishReason.LENGTH) -> Completion:
    return Completion("k", text, reason, len(text) + (reason is FinishReason.STOP))


def test_equal_answers_differ_nowhere() -> None:
    assert found(1.0, completion("ab"), completion("ab")) == []


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_the_gap_is_the_models_own(penalty: float) -> None:
    """After `a`, which the penalty holds back: a positive logit is divided by it, a negative one multiplied."""
    ids = [*CHAT.prompt_ids("x", "<t>"), *tiny.tokenizer()("a", add_special_tokens=False)["input_ids"]]
    with torch.no_grad():
        row = MODEL(input_ids=torch.tensor([ids])).logits[0, -1]
    for token in set(ids):
        row[token] = row[token] / penalty if row[token] > 0 else row[token] * penalty
    b, a = (tiny.tokenizer()(t, add_special_tokens=False)["input_ids"][0] for t in "ba")
    [difference] = found(penalty, completion("abz"), completion("aaz"))
    assert (difference.place, difference.ours, difference.theirs) == (1, "b", "a")
    assert difference.gap == pytest.approx(float(row[b] - row[a]), abs=1e-5)
    assert difference.best == (float(max(row[a], row[b])) == float(row.max()))
    assert not difference.is_tie


def test_one_that_ends_parts_at_its_end_of_turn() -> None:
    [difference] = found(1.0, completion("ab", FinishReason.STOP), completion("abc"))
    assert (difference.place, difference.ours, difference.theirs) == (2, "<end>", "c")


def test_a_tie_is_the_best_two_within_rounding() -> None:
    assert Difference("c", "k", 0, "a", "b", -9e-4, True, 1e-3).is_tie
    assert not Difference("c", "k", 0, "a", "b", 2e-3, True, 1e-3).is_tie
    assert not Difference("c", "k", 0, "a", "b", 0.0, False, 1e-3).is_tie


def test_a_text_whose_tokens_were_others_is_marked() -> None:
    [difference] = found(1.0, Completion("k", "abc", FinishReason.LENGTH, 2), completion("abd"))
    assert not difference.exact
    [difference] = found(1.0, Completion("k", "abc", FinishReason.STOP, 3), completion("abd"))
    assert difference.exact


def test_the_table_counts_a_case_by_itself() -> None:
    lines = list(
        table([case(1.1), case(1.0)], [Difference("answers, penalty 1", "k", 3, "a", "b", 1e-5, True, 1e-3)])
    )
    assert [line.split() for line in lines[:2]] == [
        ["answers,", "penalty", "1.1", "1", "of", "1", "equal", "(100.0%)"],
        ["answers,", "penalty", "1", "0", "of", "1", "equal", "(0.0%)"],
    ]
    assert lines[2].endswith("gap +1.0e-05 tie")
