import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr.config import PromptSchedule
from lidr.errors import LidrError
from lidr.prompts import check_enough, select
from lidr.prompts.align import align
from lidr.prompts.rows import Item
from tests.prompts.make import config

FRESH, REUSE = PromptSchedule.FRESH, PromptSchedule.REUSE


def made(count):
    return align(
        {c: [Item(f"p{i}", f"{c}{i}", None, f"{c}:{i}") for i in range(count)] for c in ("en", "es")}
    )


def taken(aligned, settings, schedule, iteration, seed=0):
    chosen = select(aligned, settings, schedule, iteration, seed)
    assert [p.id for p in chosen["en"]] == [p.id for p in chosen["es"]]
    return [p.id for p in chosen["es"]]


def test_fresh_takes_the_next_slice_and_reuse_the_first_again():
    aligned, settings = made(5), config(None, limit=2)
    assert [taken(aligned, settings, FRESH, t) for t in (1, 2)] == [["p0", "p1"], ["p2", "p3"]]
    assert [taken(aligned, settings, REUSE, t) for t in (1, 2)] == [["p0", "p1"], ["p0", "p1"]]


def test_reuse_takes_all_where_the_limit_is_higher():
    assert taken(made(3), config(None, limit=9), REUSE, 2) == ["p0", "p1", "p2"]


def test_running_out_of_fresh_prompts_says_what_to_type():
    with pytest.raises(LidrError) as caught:
        select(made(5), config(None, limit=2), FRESH, 3, 0)
    message = str(caught.value)
    assert "has 5 prompts, 6 are needed: 3 x prompts.limit=2" in message
    assert "type prompt_schedule=reuse or prompts.limit=1" in message


def test_a_run_can_ask_before_it_starts():
    check_enough(made(4), config(None, limit=2), FRESH, 2)
    check_enough(made(1), config(None, limit=2), REUSE, 9)
    with pytest.raises(LidrError, match=r"prompt_schedule=reuse$"):
        check_enough(made(1), config(None, limit=2), FRESH, 2)


@given(count=st.integers(1, 30), limit=st.integers(1, 10), seed=st.integers(0, 5))
def test_shuffled_iterations_share_no_prompt_and_depend_on_the_seed_alone(count, limit, seed):
    aligned, settings = made(count), config(None, limit=limit, shuffle=True)
    iterations = count // limit
    slices = [taken(aligned, settings, FRESH, t, seed) for t in range(1, iterations + 1)]
    assert slices == [taken(aligned, settings, FRESH, t, seed) for t in range(1, iterations + 1)]
    flat = [i for part in slices for i in part]
    assert len(set(flat)) == len(flat) == iterations * limit


def test_seeds_differ():
    orders = {
        tuple(taken(made(30), config(None, limit=30, shuffle=True), FRESH, 1, seed)) for seed in range(4)
    }
    assert len(orders) == 4
