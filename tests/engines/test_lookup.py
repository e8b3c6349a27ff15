"""Guesses from what a row said before, and that they change nothing but the number of passes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lidr.chat import ChatFormat
from lidr.config import Precision, SamplingConfig
from lidr.engines.base import Completion, Request
from lidr.engines.decoder import Decoder
from lidr.engines.lookup import Lookup, agreed
from lidr.engines.queries import Queries
from lidr.engines.transformers import TransformersEngine
from lidr.models import load_model, load_tokenizer
from lidr.paths import BUILTIN_LAB, resolve_model
from tests.engines.processors import COMPILED

COUNTED = list(range(100, 124))
PLAIN = SamplingConfig(max_new_tokens=96, repetition_penalty=1.0)
PENALISED = SamplingConfig(max_new_tokens=96, repetition_penalty=1.1)
REQUESTS = [
    Request(f"k{i}", f"{i} apples and {i + 1} pears, " * (1 + i % 3), "<t>" * (i % 2)) for i in range(9)
]


def test_half_of_what_repeats_is_guessed() -> None:
    lookup = Lookup([1, *COUNTED, 2, *COUNTED[:12]], most=15)
    assert lookup.guess(15) == COUNTED[12:18]
    assert lookup.guess(3) == COUNTED[12:15]
    assert Lookup([1, *COUNTED, 2, *COUNTED[:12]], most=3).guess(15) == COUNTED[12:15]


def test_too_little_repeats_to_be_worth_a_guess() -> None:
    assert Lookup([1, *COUNTED, 2, *COUNTED[:4]], most=15).guess(15) == COUNTED[4:6]
    assert Lookup([1, *COUNTED, 2, *COUNTED[:3]], most=15).guess(15) == []
    assert Lookup([1, *COUNTED, 2, *COUNTED[:2]], most=15).guess(15) == []
    assert Lookup([7], most=15).guess(15) == []


def test_a_circle_goes_on_in_circles_and_the_latest_place_counts() -> None:
    circle = Lookup([9, *[1, 2, 3] * 12], most=15)
    assert circle.guess(8) == [1, 2, 3, 1, 2, 3, 1, 2]
    changed = Lookup([4, 5, 6, 7, 1, 4, 5, 6, 7, 2], most=15)
    for token in (4, 5, 6, 7):
        changed.add(token)
    assert changed.guess(3) == [2, 4]


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=60),
    st.integers(0, 20),
    st.integers(1, 31),
)
def test_guesses_are_what_followed_the_same_tokens(tokens: list[int], room: int, most: int) -> None:
    """As many as may be, and each the token that stands after the last earlier place of the three before it."""
    lookup = Lookup(tokens[: len(tokens) // 2], most)
    for token in tokens[len(tokens) // 2 :]:
        lookup.add(token)
    found = lookup.guess(room)
    assert len(found) <= min(room, most)
    if not found:
        return
    before = max(i for i in range(3, len(tokens)) if tokens[i - 3 : i] == tokens[-3:])
    longer = [*tokens, *found]
    assert all(longer[len(tokens) + i] == longer[before + i] for i in range(len(found)))
    assert set(found) <= set(tokens)


def test_what_agrees_is_kept_and_the_models_own_choice_behind_it() -> None:
    assert agreed([], [7]) == [7]
    assert agreed([1, 2, 3], [1, 2, 9, 4]) == [1, 2, 9]
    assert agreed([1, 2], [1, 2, 3]) == [1, 2, 3]
    assert agreed([1, 2], [5, 2, 3]) == [5]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The tokens of each row in each pass."""
    seen: list[list[int]] = []
    own = Decoder.step

    def step(self: Decoder, queries: list[Queries]) -> torch.Tensor:
        seen.append([count for q in queries for count in q.counts])
        return own(self, queries)

    monkeypatch.setattr(Decoder, "step", step)
    return seen


@pytest.fixture(autouse=True)
def one_thread_afterwards() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def answered(
    precision: Precision, sampling: SamplingConfig, guesses: int, size: int
) -> dict[str, Completion]:
    """By the lab's model; two threads, as a run would use."""
    torch.set_num_threads(2)
    path = resolve_model(BUILTIN_LAB)
    model = load_model(path, precision, torch.device("cpu"))
    engine = TransformersEngine(model, ChatFormat(load_tokenizer(path), None), size, prompt_lookup=guesses)
    return {c.key: c for some in engine.stream(REQUESTS, sampling) for c in some}


@COMPILED
@pytest.mark.parametrize("sampling", [PLAIN, PENALISED], ids=["plain", "penalised"])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_answers_are_the_same_in_fewer_passes_and_any_batch(
    precision: Precision, sampling: SamplingConfig, passes: list[list[int]]
) -> None:
    """Bit for bit in any batch; with and without guesses but for rounding."""
    plain = answered(precision, sampling, 0, 9)
    assert {count for counts in passes for count in counts} == {1}
    needed = sum(map(len, passes))
    passes.clear()
    guessed = answered(precision, sampling, 31, 9)
    assert sum(map(len, passes)) < needed
    assert max(max(counts) for counts in passes) > 2
    assert sum(guessed[key] == plain[key] for key in plain) >= len(plain) - 1
    for size in (4, 1):
        assert answered(precision, sampling, 31, size) == guessed


def test_nothing_is_guessed_where_tokens_are_drawn(passes: list[list[int]]) -> None:
    answered(Precision.FP32, SamplingConfig(24, repetition_penalty=1.0, temperature=0.5), 15, 9)
    assert {count for counts in passes for count in counts} == {1}


def test_an_answer_ends_at_its_limit_within_its_guesses(passes: list[list[int]]) -> None:
    for limit in (30, 31, 32, 33):
        found = answered(Precision.FP32, SamplingConfig(limit, repetition_penalty=1.0), 63, 4)
        assert max(c.tokens for c in found.values()) == limit
