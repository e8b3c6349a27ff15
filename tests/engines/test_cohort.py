"""Rows that grow and leave."""

from __future__ import annotations

import torch

from lidr.engines.cohort import BLOCK, Cohort

CPU = torch.device("cpu")


def filled(*prompts: list[int]) -> Cohort:
    """Each key and value is its token."""
    cohort = Cohort(prompts, CPU)
    kept = cohort.begin_layer(0, torch.zeros(1, 2, 1, 3))
    for row, prompt in enumerate(prompts):
        for t in kept:
            t[row, :, : len(prompt)] = torch.tensor(prompt, dtype=torch.float)[None, :, None]
    return cohort


def write(cohort: Cohort, *tokens: int) -> None:
    cohort.newest
    new = torch.tensor(tokens, dtype=torch.float)[:, None, None].expand(-1, 2, 3)
    cohort.append(0, new, new)
    cohort.seen()


def row(cohort: Cohort, place: int) -> list[int]:
    return cohort.tokens[place, : cohort.lengths[place]].tolist()


def test_room_is_a_multiple_of_the_block() -> None:
    assert Cohort([[1] * (BLOCK - 1), [2]], CPU).room == BLOCK
    assert Cohort([[1] * BLOCK], CPU).room == 2 * BLOCK


def test_a_token_is_seen_with_all_before_it() -> None:
    cohort = filled([5, 6, 7], [8])
    cohort.add(torch.tensor([9, 10]))
    assert cohort.newest().tolist() == [9, 10]
    seen = (cohort.mask(torch.float32)[:, 0, 0] == 0).sum(-1)
    assert seen.tolist() == [4, 2]
    write(cohort, 9, 10)
    assert [row(cohort, 0), row(cohort, 1)] == [[5, 6, 7, 9], [8, 10]]
    assert cohort.layers[0].keys[1, 0, :3, 0].tolist() == [8, 10, 0]


def test_a_row_that_leaves_makes_place_for_the_last() -> None:
    cohort = filled([1, 2], [3, 4, 5], [6])
    cohort.drop(0)
    assert (len(cohort), cohort.held) == (2, 2 * BLOCK)
    assert [row(cohort, 0), row(cohort, 1)] == [[6], [3, 4, 5]]
    assert cohort.layers[0].values[0, 1, :2, 2].tolist() == [6, 0]
    cohort.drop(1)
    cohort.drop(0)
    assert len(cohort) == 0


def test_it_grows_when_its_longest_row_is_full() -> None:
    cohort = filled([1] * (BLOCK - 1), [2])
    write(cohort, 3, 4)
    assert cohort.room == 2 * BLOCK
    write(cohort, 5, 6)
    assert row(cohort, 0)[-2:] == [3, 5]
    assert row(cohort, 1) == [2, 4, 6]
    assert cohort.layers[0].keys.shape == (2, 2, 2 * BLOCK, 3)
    assert cohort.layers[0].keys[0, 0, BLOCK - 1 : BLOCK + 2, 0].tolist() == [3, 5, 0]
    assert set(cohort.tokens[1, 3:].tolist()) == {2}


def test_cohorts_are_joined() -> None:
    one, other = filled([1, 2]), filled([3] * BLOCK, [4])
    one.join(other)
    assert (len(one), one.room, one.held) == (3, 2 * BLOCK, 6 * BLOCK)
    assert [row(one, 0), row(one, 2)] == [[1, 2], [4]]
    assert set(one.tokens[0, 2:].tolist()) == {1}
    assert one.layers[0].keys.shape == (3, 2, 2 * BLOCK, 3)
    assert one.layers[0].values[0, 0, :3, 0].tolist() == [1, 2, 0]
    write(one, 5, 6, 7)
    assert [row(one, 0), row(one, 1)[-2:], row(one, 2)] == [[1, 2, 5], [3, 6], [4, 7]]
