import json
import logging
from itertools import groupby
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lidr.chat import ChatFormat
from lidr.config import PairType, TooLong
from lidr.errors import LidrError
from lidr.records import Pair
from lidr.training.batching import Batcher, plan_steps
from lidr.training.pairs import TokenPairs, read_pairs, tokenise

LENGTHS = st.lists(st.integers(2, 90), min_size=1, max_size=40)
PLAN = {"global_batch": 4, "micro_batch": 2, "epochs": 2, "seed": 0}


def pair(prompt: str = "p", chosen: str = "c", rejected: str = "r", origin: str = "en") -> Pair:
    return Pair("i", "en", prompt, chosen, rejected, origin, "es->en")


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_each_epoch_covers_every_pair_exactly_once(
    lengths: list[int], micro_batch: int, per_step: int, epochs: int, seed: int
) -> None:
    size = micro_batch * per_step
    plan = plan_steps(lengths, global_batch=size, micro_batch=micro_batch, epochs=epochs, seed=seed)
    by_epoch = {epoch: list(steps) for epoch, steps in groupby(plan, key=lambda step: step.epoch)}
    assert list(by_epoch) == list(range(epochs))
    for steps in by_epoch.values():
        assert sorted(i for step in steps for i in step.pairs) == list(range(len(lengths)))
        assert all(len(step.pairs) == size for step in steps[:-1])
        assert all(len(m) <= micro_batch for step in steps for m in step.micro_batches)


def test_a_plan_is_a_function_of_its_arguments() -> None:
    lengths = list(range(10, 40))
    assert plan_steps(lengths, **PLAN) == plan_steps(lengths, **PLAN)
    assert plan_steps(lengths, **PLAN) != plan_steps(lengths, **{**PLAN, "seed": 1})


def test_epochs_differ_in_order() -> None:
    plan = plan_steps([5] * 12, **PLAN)
    assert [step.pairs for step in plan if step.epoch == 0] != [
        step.pairs for step in plan if step.epoch == 1
    ]


def test_the_longest_pairs_of_a_step_go_together() -> None:
    (step,) = plan_steps([3, 9, 4, 8], global_batch=4, micro_batch=2, epochs=1, seed=0)
    assert step.micro_batches == ((1, 3), (2, 0))


def test_a_micro_batch_holds_chosen_then_rejected_rows(token_pairs: TokenPairs, chat: ChatFormat) -> None:
    batch = Batcher(token_pairs.pairs, chat.pad_id).micro_batch([4, 1])
    rows = [
        (p.prompt, r)
        for r_of in ("chosen", "rejected")
        for p in (token_pairs.pairs[i] for i in (4, 1))
        for r in [getattr(p, r_of)]
    ]
    for row, (prompt, response) in enumerate(rows):
        length = len(prompt) + len(response)
        assert batch.input_ids[row, :length].tolist() == [*prompt, *response]
        assert batch.attention_mask[row].tolist() == [1] * length + [0] * (batch.input_ids.shape[1] - length)
        positions = batch.before_response[row].nonzero()[:, 0].tolist()
        assert batch.input_ids[row, [i + 1 for i in positions]].tolist() == list(response)
    assert batch.chosen_lengths.tolist() == [len(token_pairs.pairs[i].chosen) for i in (4, 1)]


def test_a_step_counts_real_tokens(token_pairs: TokenPairs, chat: ChatFormat) -> None:
    batcher = Batcher(token_pairs.pairs, chat.pad_id)
    (first, *_) = plan_steps([p.longest for p in token_pairs.pairs], **PLAN)
    batch = batcher.step(0, first)
    assert batch.tokens == sum(int(m.attention_mask.sum()) for m in batch.micro_batches)
    assert batch.totals == (4, sum(int(m.chosen_lengths.sum()) for m in batch.micro_batches))


def test_tokens_are_prompt_response_and_end_of_turn(chat: ChatFormat) -> None:
    (tokens,) = tokenise([pair()], chat, 64, TooLong.DROP, with_rejected=True).pairs
    assert tokens.prompt.tolist() == chat.prompt_ids("p")
    assert tokens.prompt.tolist().count(0) == 1, "one begin-of-sequence token"
    assert tokens.chosen.tolist() == chat.response_ids("c")
    assert tokens.chosen[-1] == chat.end_of_turn_id


def test_too_long_pairs_are_cut_or_dropped_and_counted(
    chat: ChatFormat, caplog: pytest.LogCaptureFixture
) -> None:
    """With 10 tokens at most, and a prompt of its text + 4 tokens of template: fits, response too long,
    prompt too long."""
    pairs = [pair(), pair(chosen="c" * 20), pair(prompt="p" * 20)]
    room = 10 - len(chat.prompt_ids("p"))
    with caplog.at_level(logging.INFO, "lidr.training"):
        cut = tokenise(pairs, chat, 10, TooLong.TRUNCATE, with_rejected=True)
        dropped = tokenise(pairs, chat, 10, TooLong.DROP, with_rejected=True)
    assert (len(cut.pairs), cut.truncated, cut.dropped) == (2, 1, 1)
    assert cut.pairs[1].chosen.tolist() == chat.response_ids("c" * 20)[:room]
    assert cut.pairs[1].rejected == cut.pairs[0].rejected, "a response that fits is left whole"
    assert (len(dropped.pairs), dropped.truncated, dropped.dropped) == (1, 0, 2)
    assert "1 cut to training.max_length=10 tokens, 1 dropped" in caplog.text


def test_without_a_rejected_response_only_the_chosen_counts(chat: ChatFormat) -> None:
    tokens = tokenise([pair(rejected="r" * 90)], chat, 20, TooLong.DROP, with_rejected=False)
    assert tokens.dropped == 0
    assert len(Batcher(tokens.pairs, chat.pad_id).micro_batch([0]).input_ids) == 1


def test_pair_types_come_from_the_origin_of_the_chosen(token_pairs: TokenPairs) -> None:
    kinds = {(p.language, p.type) for p in token_pairs.pairs}
    assert kinds == {("en", PairType.EN), ("es", PairType.NL), ("de", PairType.NL)}


def test_an_empty_file_points_to_the_audit(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").touch()
    with pytest.raises(LidrError, match=r"audit\.json"):
        read_pairs(tmp_path / "pairs.jsonl")


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"id": "1", "language": "en", "prompt": "x"}))
    with pytest.raises(
        LidrError, match="pair 1 has no text in chosen, rejected, chosen_origin, rejected_origin"
    ):
        read_pairs(tmp_path / "pairs.jsonl")


def test_padding_is_on_the_right(token_pairs: TokenPairs, chat: ChatFormat) -> None:
    batch = Batcher(token_pairs.pairs, chat.pad_id).micro_batch(range(len(token_pairs.pairs)))
    assert bool((batch.attention_mask.diff(dim=1) <= 0).all())
    assert torch.equal(batch.input_ids == chat.pad_id, batch.attention_mask == 0)
