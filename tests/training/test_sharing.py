"""The division of a step among processes."""

from __future__ import annotations

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from lidr.config import Layout, PairType
from lidr.training.batching import Batcher, Step
from lidr.training.pairs import TokenPair

LENGTHS = st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
LAYOUTS = st.sampled_from([Layout.SHARED, Layout.PACKED, Layout.PADDED])


def pair(lengths: tuple[int, int, int]) -> TokenPair:
    prompt, chosen, rejected = (array("i", [5] * length) for length in lengths)
    return TokenPair("p", "en", PairType.EN, prompt, chosen, rejected)


@settings(max_examples=60, deadline=None)
@given(st.lists(LENGTHS, min_size=1, max_size=20), st.integers(1, 6), st.integers(8, 300), LAYOUTS)
def test_every_pair_once_and_every_rank_as_many_passes(
    lengths: list[tuple[int, int, int]], ranks: int, budget: int, layout: Layout
) -> None:
    batcher = Batcher([pair(each) for each in lengths], 0, layout, budget, ranks=ranks)
    indices = tuple(range(len(lengths)))
    shares = batcher.shares(indices)
    assert len(shares) == ranks
    assert len({len(share) for share in shares}) == 1
    assert sorted(i for share in shares for part in share for i in part) == list(indices)
    alone = batcher.divide(indices)
    assert len(shares[0]) == -(-len(alone) // ranks), "no more passes than the budget asks for"
    parts = [part for share in shares for part in share if part]
    assert all(len(part) == 1 or batcher.tokens(part) <= budget for part in parts)
    assert max(map(batcher.tokens, parts)) <= max(map(batcher.tokens, alone))


@settings(max_examples=60, deadline=None)
@given(st.lists(LENGTHS, min_size=1, max_size=12), st.integers(8, 300), st.integers(0, 200))
def test_the_first_micro_batch_alone_may_be_longer(
    lengths: list[tuple[int, int, int]], budget: int, ahead: int
) -> None:
    batcher = Batcher([pair(each) for each in lengths], 0, Layout.SHARED, budget, ahead=ahead)
    indices = tuple(range(len(lengths)))
    ((first, *others),) = batcher.shares(indices)
    assert (
        len(others) + 1
        == len(batcher.divide(indices))
        <= len(Batcher(batcher.pairs, 0, Layout.SHARED, budget).divide(indices))
    )
    assert len(first) == 1 or batcher.tokens(first) <= budget + ahead
    assert all(len(part) == 1 or batcher.tokens(part) <= budget for part in others)


def test_one_process_has_micro_batches_of_like_length_and_the_longest_first() -> None:
    """Rows of 42, 32, 22 and 12 tokens: 80 would hold 42 + 32 and 22 + 12, but 56 are enough for two."""
    pairs = [pair((length, 2, 2)) for length in (40, 10, 20, 30)]
    batcher = Batcher(pairs, 0, Layout.SHARED, 80)
    assert batcher.divide((0, 1, 2, 3)) == [[0, 3], [2, 1]]
    assert batcher.shares((0, 1, 2, 3)) == [[[0, 1], [3, 2]]]


def test_like_lengths_run_at_the_same_time_and_tokens_are_balanced() -> None:
    pairs = [pair((length, 1, 1)) for length in (40, 30, 20, 10)]
    batcher = Batcher(pairs, 0, Layout.SHARED, 45, ranks=2)
    assert batcher.shares((0, 1, 2, 3)) == [[[0], [3]], [[1], [2]]]


def test_all_ranks_of_a_step_name_its_pairs_and_a_filler_names_none() -> None:
    pairs = [pair((4, 2, 2)), pair((3, 2, 2))]
    batches = [
        Batcher(pairs, 0, Layout.SHARED, 20, rank=r, ranks=3).step(7, Step(0, (1, 0))) for r in range(3)
    ]
    assert [batch.pairs.tolist() for batch in batches] == [[1, 0]] * 3
    assert {(batch.totals, batch.tokens) for batch in batches} == {((2, 4), 22)}
    own = [[m.pairs.tolist() for m in batch.micro_batches] for batch in batches]
    assert sorted(own) == [[[]], [[0]], [[1]]]
    (filler,) = next(batch for batch in batches if not len(batch.micro_batches[0].pairs)).micro_batches
    assert filler.segments.list[0] == (0, 4, 0, 0), "the shortest pair of the step"
