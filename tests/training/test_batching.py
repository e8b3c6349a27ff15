import json
import logging
from array import array
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lidr.chat import ChatFormat
from lidr.config import Layout, PairType, TooLong
from lidr.errors import LidrError
from lidr.records import Pair
from lidr.training import microbatch
from lidr.training.batching import Batcher, Step, plan_steps
from lidr.training.microbatch import MicroBatch, forward_tokens
from lidr.training.pairs import TokenPair, TokenPairs, read_pairs, tokenise
from tests.training.cases import token_pairs_of

PLAN = {"global_batch": 4, "epochs": 2, "seed": 0}
FORWARD = (Layout.PADDED, Layout.PACKED, Layout.SHARED)
LENGTHS = st.lists(st.tuples(*[st.integers(1, 40)] * 3), min_size=1, max_size=25)


def pair(prompt: str = "p", chosen: str = "c", rejected: str = "r", origin: str = "en") -> Pair:
    return Pair("i", "en", prompt, chosen, rejected, origin, "es->en")


def tokens_of_rows(batch: MicroBatch) -> int:
    """Padding included."""
    return batch.input_ids.numel()


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 3), st.integers(0, 99))
def test_each_epoch_covers_every_pair_exactly_once(pairs: int, size: int, epochs: int, seed: int) -> None:
    plan = plan_steps(pairs, global_batch=size, epochs=epochs, seed=seed)
    by_epoch = {epoch: list(steps) for epoch, steps in groupby(plan, key=lambda step: step.epoch)}
    assert list(by_epoch) == list(range(epochs))
    for steps in by_epoch.values():
        assert sorted(i for step in steps for i in step.pairs) == list(range(pairs))
        assert all(len(step.pairs) == size for step in steps[:-1])


def test_a_plan_is_a_function_of_its_arguments() -> None:
    assert plan_steps(30, **PLAN) == plan_steps(30, **PLAN)
    assert plan_steps(30, **PLAN) != plan_steps(30, **{**PLAN, "seed": 1})


def test_epochs_differ_in_order() -> None:
    plan = plan_steps(12, **PLAN)
    assert [step.pairs for step in plan if step.epoch == 0] != [
        step.pairs for step in plan if step.epoch == 1
    ]


@settings(deadline=None, max_examples=50)
@given(LENGTHS, st.sampled_from(FORWARD), st.integers(1, 200))
def test_micro_batches_hold_every_pair_once_and_keep_to_the_budget(
    lengths: list[tuple[int, int, int]], layout: Layout, budget: int
) -> None:
    batcher = Batcher(token_pairs_of(*lengths), 0, layout, budget)
    batches = list(batcher.micro_batches(Step(0, tuple(range(len(lengths))))))
    assert sorted(i for batch in batches for i in batch.pairs.tolist()) == list(range(len(lengths)))
    assert all(tokens_of_rows(batch) <= budget or len(batch.pairs) == 1 for batch in batches)


def test_the_longest_pairs_of_a_step_go_first() -> None:
    """Two rows each of 3, 9, 4 and 8 tokens with padding; a budget of 40 holds 9 + 8 (36) and 4 + 3 (16)."""
    pairs = token_pairs_of((1, 2, 2), (1, 8, 8), (1, 3, 3), (1, 7, 7))
    assert Batcher(pairs, 0, Layout.PADDED, 40).divide([0, 1, 2, 3]) == [[1, 3], [2, 0]]


def test_packed_rows_are_filled_first_fit_with_the_longest_first() -> None:
    """Shared rows of 10, 7, 5 and 3 tokens: with 16 to a row 10 + 5 and 7 + 3; 23 are no more, but for whole eights."""
    pairs = token_pairs_of((1, 6, 5), (1, 4, 4), (2, 3, 2), (1, 2, 2))
    assert [forward_tokens(pair, Layout.SHARED) for pair in pairs] == [10, 7, 5, 3]
    for budget in (16, 23):
        assert Batcher(pairs, 0, Layout.SHARED, budget).divide([0, 1, 2, 3]) == [[0, 2], [1, 3]]


def test_the_first_micro_batch_may_be_longer() -> None:
    """The same rows: 8 to a row, and 8 more in the first."""
    pairs = token_pairs_of((1, 6, 5), (1, 4, 4), (2, 3, 2), (1, 2, 2))
    batcher = Batcher(pairs, 0, Layout.SHARED, 8, ahead=8)
    assert batcher.divide([0, 1, 2, 3]) == [[0, 2], [1], [3]]
    assert Batcher(pairs, 0, Layout.PADDED, 8, ahead=8).divide([3, 2]) == [[2], [3]], "rows of 5 and 3 each"


@pytest.mark.parametrize("layout", FORWARD)
def test_the_tokens_of_a_pair_are_counted_as_they_are_laid_out(layout: Layout) -> None:
    """Packed rows are whole eights of tokens: the rest is padding."""
    for lengths in [(3, 3, 2), (4, 1, 5), (2, 6, 1)]:
        (pair,) = token_pairs_of(lengths)
        for one in (pair, replace(pair, rejected=None)):
            own, tokens = forward_tokens(one, layout), tokens_of_rows(microbatch.make([one], [0], layout, 0))
            assert tokens == Batcher([one], 0, layout, 99).tokens([0])
            assert (
                (own <= tokens < own + 8 and tokens % 8 == 0)
                if layout is not Layout.PADDED
                else own == tokens
            )


def test_a_padded_micro_batch_holds_chosen_then_rejected_rows(
    token_pairs: TokenPairs, chat: ChatFormat
) -> None:
    batch = microbatch.make(token_pairs.pairs, [4, 1], Layout.PADDED, chat.pad_id)
    rows = [
        (p.prompt, r)
        for r_of in ("chosen", "rejected")
        for p in (token_pairs.pairs[i] for i in (4, 1))
        for r in [getattr(p, r_of)]
    ]
    time = batch.input_ids.shape[1]
    places = batch.before_response.split(batch.response_lengths.tolist())
    for row, (prompt, response) in enumerate(rows):
        length = len(prompt) + len(response)
        assert batch.input_ids[row, :length].tolist() == [*prompt, *response]
        assert batch.attention_mask[row].tolist() == [1] * length + [0] * (time - length)
        assert batch.input_ids.flatten()[places[row] + 1].tolist() == list(response)
    assert batch.targets.tolist() == [token for _, response in rows for token in response]
    assert batch.chosen_lengths.tolist() == [len(token_pairs.pairs[i].chosen) for i in (4, 1)]


PAIR = TokenPair(
    "i", "en", PairType.EN, array("i", [10, 11, 12]), array("i", [20, 21, 1]), array("i", [30, 1])
)


def test_a_packed_row_by_hand() -> None:
    """9 tokens, and 7 of padding, which are a sequence of their own."""
    batch = microbatch.make([PAIR], [0], Layout.PACKED, 9)
    assert batch.input_ids.tolist() == [[10, 11, 12, 20, 21, 10, 11, 12, 30, *[9] * 7]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3, *range(7)]]
    assert batch.segments.list == ((0, 5, 0, 0), (5, 9, 5, 5), (9, 16, 9, 9))
    assert batch.before_response.tolist() == [2, 3, 4, 7, 8]
    assert batch.targets.tolist() == [20, 21, 1, 30, 1]
    assert batch.attention_mask is None


def test_a_shared_row_by_hand() -> None:
    """Two such pairs: the second one's segments lie 6 tokens further on, and chosen responses come first; 4 tokens of
    padding."""
    batch = microbatch.make([PAIR, PAIR], [0, 1], Layout.SHARED, 0)
    assert batch.input_ids.tolist() == [[10, 11, 12, 20, 21, 30] * 2 + [0] * 4]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 3] * 2 + [0, 1, 2, 3]]
    assert batch.segments.list == (
        (0, 5, 0, 0),
        (5, 6, 0, 3),
        (6, 11, 6, 6),
        (11, 12, 6, 9),
        (12, 16, 12, 12),
    )
    assert batch.segments.tables.query_ends.tolist() == [0, 5, 6, 11, 12, 16]
    assert batch.segments.tables.key_ends.tolist() == [0, 5, 9, 14, 18, 22]
    keys = [*range(5), 0, 1, 2, 5, *range(6, 11), 6, 7, 8, 11, *range(12, 16)]
    assert batch.segments.tables.key_index.tolist() == keys
    assert batch.before_response.tolist() == [2, 3, 4, 8, 9, 10, 2, 5, 8, 11]
    assert batch.targets.tolist() == [20, 21, 1, 20, 21, 1, 30, 1, 30, 1]
    assert batch.response_lengths.tolist() == [3, 3, 2, 2]


def test_a_response_of_one_token_is_predicted_by_the_prompt_alone() -> None:
    (pair,) = token_pairs_of((3, 2, 1))
    batch = microbatch.make([pair], [0], Layout.SHARED, 0)
    assert batch.input_ids.tolist() == [[*pair.prompt, pair.chosen[0], *[0] * 4]]
    assert len(batch.segments.list) == 2, "and the padding"
    assert batch.before_response.tolist() == [2, 3, 2]


@pytest.mark.parametrize("layout", FORWARD)
def test_a_step_counts_real_tokens(token_pairs: TokenPairs, chat: ChatFormat, layout: Layout) -> None:
    """However they are laid out."""
    (first, *_) = plan_steps(len(token_pairs.pairs), **PLAN)
    batch = Batcher(token_pairs.pairs, chat.pad_id, layout, 120).step(0, first)
    assert len(batch.micro_batches) > 1
    assert batch.tokens == sum(token_pairs.pairs[i].tokens for i in first.pairs)
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
    assert len(microbatch.make(tokens.pairs, [0], Layout.PADDED, chat.pad_id).input_ids) == 1


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
        LidrError,
        match=r"pairs\.jsonl:1: has no text under 'chosen', 'rejected', 'chosen_origin', 'rejected_origin'",
    ):
        read_pairs(tmp_path / "pairs.jsonl")


def test_padding_is_on_the_right(token_pairs: TokenPairs, chat: ChatFormat) -> None:
    batch = microbatch.make(token_pairs.pairs, range(len(token_pairs.pairs)), Layout.PADDED, chat.pad_id)
    assert bool((batch.attention_mask.diff(dim=1) <= 0).all())
    assert torch.equal(batch.input_ids == chat.pad_id, batch.attention_mask == 0)
