"""Rows that grow and leave."""

from __future__ import annotations

import torch

from lidr.engines.cohort import Cohort
from lidr.engines.queries import BLOCK, Queries

CPU = torch.device("cpu")


def filled(*prompts: list[int]) -> Cohort:
    """Each key and value is its token."""
    cohort = Cohort(prompts, CPU)
    kept = cohort.begin_layer(0, torch.zeros(1, 2, 3))
    for row, prompt in enumerate(prompts):
        for t in kept:
            t[row, :, : len(prompt)] = torch.tensor(prompt, dtype=torch.float)[None, :, None]
    return cohort


def computed(cohort: Cohort) -> Queries:
    """A pass: keys and values of the newest tokens and of the guesses behind them."""
    queries = cohort.queries()
    new = queries.tokens.float()[:, None, None].expand(-1, 2, 3)
    cohort.append(0, queries.places(2), new, new)
    return queries


def write(cohort: Cohort, *tokens: int) -> None:
    """A pass, and the token that each row goes on with."""
    computed(cohort)
    cohort.go_on([[token] for token in tokens])


def row(cohort: Cohort, place: int) -> list[int]:
    return cohort.tokens[place, : cohort.lengths[place]].tolist()


def seen(queries: Queries) -> list[int]:
    """How many keys each row sees, where none has guesses."""
    return (queries.mask(torch.float32)[:, 0] == 0).sum(-1).tolist()


def test_room_is_a_multiple_of_the_block() -> None:
    assert Cohort([[1] * (BLOCK - 1), [2]], CPU).room == BLOCK
    assert Cohort([[1] * BLOCK], CPU).room == 2 * BLOCK


def test_a_token_is_seen_with_all_before_it() -> None:
    cohort = filled([5, 6, 7], [8])
    cohort.begin([9, 10])
    queries = computed(cohort)
    assert (queries.tokens.tolist(), queries.positions.tolist()) == ([9, 10], [3, 1])
    assert seen(queries) == [4, 2]
    cohort.go_on([[11], [12]])
    assert [row(cohort, 0), row(cohort, 1)] == [[5, 6, 7, 9], [8, 10]]
    assert cohort.newest == [11, 12]
    assert cohort.layers[0].keys[1, 0, :3, 0].tolist() == [8, 10, 0]


def test_guesses_are_computed_behind_their_row_and_kept_where_they_were_right() -> None:
    cohort = filled([5, 6, 7], [8], [1, 2])
    cohort.begin([9, 10, 3])
    cohort.guesses = [(), (20, 21, 22), ()]
    queries = computed(cohort)
    assert queries.tokens.tolist() == [9, 10, 20, 21, 22, 3]
    assert queries.positions.tolist() == [3, 1, 2, 3, 4, 2]
    assert queries.counts == [1, 4, 1]
    assert [set(ids) for ids in queries.seen().tolist()] == [{5, 6, 7, 9}, *[{8, 10}] * 4, {1, 2, 3}]
    assert (queries.starts.tolist(), queries.lengths.tolist()) == ([0, 1, 5, 6], [3, 1, 2])
    cohort.go_on([[11], [20, 30], [12]])
    assert [row(cohort, place) for place in range(3)] == [[5, 6, 7, 9], [8, 10, 20], [1, 2, 3]]
    assert cohort.newest == [11, 30, 12]
    assert cohort.tokens[1, :5].tolist() == [8, 10, 20, 30, 8]
    again = computed(cohort)
    assert again.positions.tolist() == [4, 3, 3]
    assert cohort.layers[0].keys[1, 1, :5, 0].tolist() == [8, 10, 20, 30, 22]
    assert seen(again) == [5, 4, 4]


def test_a_row_that_leaves_makes_place_for_the_last() -> None:
    cohort = filled([1, 2], [3, 4, 5], [6])
    cohort.begin([7, 8, 9])
    cohort.drop(0)
    assert (len(cohort), cohort.held, cohort.newest) == (2, 2 * BLOCK, [9, 8])
    assert [row(cohort, 0), row(cohort, 1)] == [[6], [3, 4, 5]]
    assert cohort.layers[0].values[0, 1, :2, 2].tolist() == [6, 0]
    cohort.drop(1)
    cohort.drop(0)
    assert len(cohort) == 0


def test_it_grows_before_a_row_has_no_room_for_its_guesses_and_one_more() -> None:
    cohort = filled([1] * (BLOCK - 4), [2])
    cohort.begin([3, 4])
    cohort.guesses = [(5,), ()]
    computed(cohort)
    assert cohort.room == BLOCK
    cohort.go_on([[5, 6], [7]])
    cohort.guesses = [(8,), ()]
    computed(cohort)
    assert cohort.room == 2 * BLOCK
    cohort.go_on([[8, 9], [10]])
    assert row(cohort, 0)[-4:] == [3, 5, 6, 8]
    assert row(cohort, 1) == [2, 4, 7]
    assert cohort.layers[0].keys.shape == (2, 2, 2 * BLOCK, 3)
    assert cohort.layers[0].keys[0, 0, BLOCK - 2 : BLOCK + 1, 0].tolist() == [6, 8, 0]
    assert set(cohort.tokens[1, 4:].tolist()) == {2}


def test_many_guesses_make_room_for_the_passes_behind_them() -> None:
    cohort = filled([1] * (BLOCK - 4))
    cohort.begin([3])
    cohort.guesses = [[7] * 31]
    cohort.queries()
    assert cohort.room == 3 * BLOCK
    assert cohort.room >= BLOCK - 4 + 4 * 31 + 2


def test_cohorts_are_joined() -> None:
    one, other = filled([1, 2]), filled([3] * BLOCK, [4])
    one.begin([5])
    other.begin([6, 7])
    assert one.join(other) == [1, 0, 2]
    assert (len(one), one.room, one.held) == (3, 2 * BLOCK, 6 * BLOCK)
    assert [row(one, 1), row(one, 2)] == [[1, 2], [4]]
    assert set(one.tokens[1, 3:].tolist()) == {1}
    assert one.layers[0].keys.shape == (3, 2, 2 * BLOCK, 3)
    assert one.layers[0].values[1, 0, :3, 0].tolist() == [1, 2, 0]
    write(one, 9, 8, 10)
    assert [row(one, 0)[-2:], row(one, 1), row(one, 2)] == [[3, 6], [1, 2, 5], [4, 7]]
    assert one.newest == [9, 8, 10]
