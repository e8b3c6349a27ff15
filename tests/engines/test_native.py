"""Compiled code against the same by hand and by PyTorch, and what changes no bit of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import rms_norm

from lidr.engines.cached_attention import Turns
from lidr.engines.cohort import Cohort
from lidr.engines.native.build import library
from lidr.engines.native.step import Native, NativeNewest, native
from lidr.engines.queries import Queries
from tests.engines.attending import attended
from tests.engines.processors import COMPILED

pytestmark = COMPILED
CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.bfloat16]
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
GUESSES: dict[str, list[int]] = {
    "none": [0] * 5,
    "one": [0, 3, 0, 0, 0],
    "most": [7, 2, 0, 31, 4],
    "all": [1] * 5,
}


def passes(dtype: torch.dtype) -> partial[NativeNewest]:
    return partial(NativeNewest, Native(library(), dtype))


@pytest.fixture(autouse=True)
def one_thread_afterwards() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("heads", [(6, 2), (4, 4), (7, 1), (8, 2)])
@pytest.mark.parametrize("width", [32, 64, 96, 128])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tokens_see_what_is_kept_of_their_row(dtype: torch.dtype, width: int, heads: tuple[int, int]) -> None:
    for guesses in GUESSES.values():
        found, expected = attended(passes(dtype), guesses, dtype, heads=heads, width=width)
        torch.testing.assert_close(found.double(), expected, rtol=CLOSE[dtype], atol=CLOSE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("guesses", GUESSES.values(), ids=GUESSES)
def test_other_rows_and_threads_change_no_bit(guesses: list[int], dtype: torch.dtype) -> None:
    whole = attended(passes(dtype), guesses, dtype)[0]
    torch.set_num_threads(2)
    part = attended(passes(dtype), guesses, dtype, slice(1, 4))[0]
    start = 1 + guesses[0]
    assert torch.equal(whole[start : start + len(part)], part)


@pytest.mark.parametrize("dtype", DTYPES)
def test_guesses_behind_a_token_change_no_bit_of_it(dtype: torch.dtype) -> None:
    plain = attended(passes(dtype), [0] * 5, dtype)[0]
    for guesses in GUESSES.values():
        found = attended(passes(dtype), guesses, dtype)[0]
        starts = [sum(1 + count for count in guesses[:row]) for row in range(5)]
        assert torch.equal(found[starts], plain)


@pytest.mark.parametrize("dtype", DTYPES)
def test_queries_and_keys_are_turned_to_their_positions(dtype: torch.dtype) -> None:
    """As the operators turn them, and what is kept is the turned key; heads may lie in any order in memory."""
    heads = torch.randn(3, 12, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    angles = torch.rand(1, 3, 32).repeat(1, 1, 2) * 100
    embeddings = angles.cos().to(dtype), angles.sin().to(dtype)
    turned = Turns().turned(heads, embeddings)
    results = []
    for given, own in ((heads, embeddings), (turned, None)):
        cohort = Cohort([[1, 2], [3]], CPU)
        cohort.newest, cohort.guesses = [4, 5], [(), (6,)]
        kept = cohort.begin_layer(0, torch.zeros(1, 3, 64, dtype=dtype))
        by_head = given.transpose(0, 1).contiguous().transpose(0, 1)
        query, key, value = by_head[:, :6], by_head[:, 6:9], heads[:, 9:]
        found = passes(dtype)([cohort.queries()]).attend(0, query, key, value, 0.125, own)
        results.append((found, *kept))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=2 * CLOSE[dtype], atol=2 * CLOSE[dtype])
    assert torch.equal(results[1][1][0, :, 2], turned[0, 6:9])
    assert torch.equal(results[1][2][1, :, 1:3].transpose(0, 1), heads[1:, 9:])


def test_what_is_left_of_the_pass_is_zero() -> None:
    cohort = Cohort([[1, 2]], CPU)
    cohort.newest = [4]
    cohort.begin_layer(0, torch.zeros(1, 1, 32))
    query, key = torch.ones(8, 2, 32), torch.ones(8, 1, 32)
    found = passes(torch.float32)([cohort.queries()]).attend(0, query, key, key, 1.0)
    assert found[1:].abs().max() == 0
    assert found[0].min() > 0


@pytest.mark.parametrize("large", [30.0, 1e4])
def test_large_scores_do_not_overflow(large: float) -> None:
    """The newest key is the only one that counts."""
    cohort = Cohort([[1] * 40], CPU)
    cohort.newest = [4]
    cohort.begin_layer(0, torch.zeros(1, 1, 32))
    query, value = torch.full((1, 1, 32), large), torch.full((1, 1, 32), 3.0)
    found = passes(torch.float32)([cohort.queries()]).attend(0, query, query, value, 1.0)
    torch.testing.assert_close(found, value)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_norms_are_those_of_pytorch(dtype: torch.dtype, threads: int) -> None:
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(*size, 576, generator=generator).to(dtype) for size in ((300,), ()))
    found = Native(library(), dtype).normed(x, weight, 1e-5)
    torch.testing.assert_close(found, rms_norm(x, (576,), weight, 1e-5), rtol=CLOSE[dtype], atol=1e-6)
    for rows in (1, 7, 64):
        assert torch.equal(Native(library(), dtype).normed(x[:rows], weight, 1e-5), found[:rows])


def test_bf16_is_rounded_as_pytorch_rounds() -> None:
    """To the nearest, of two the even one; what is no number stays none."""
    x = torch.ones(1, 32, dtype=torch.bfloat16)
    weight = torch.tensor([1 + i / 128 for i in range(32)]).bfloat16()
    scale = (1 + 1e-5) ** -0.5
    found = Native(library(), torch.bfloat16).normed(x, weight, 1e-5)
    assert torch.equal(found[0], (weight.float() * scale).bfloat16())
    x[0, 3] = torch.nan
    assert Native(library(), torch.bfloat16).normed(x, weight, 1e-5).isnan().all()


def test_it_computes_for_a_cpu_and_vectors_of_whole_registers() -> None:
    assert native(CPU, torch.float32, 64, 576) is not None
    assert native(CPU, torch.float32, 80) is None
    assert native(CPU, torch.float16, 64) is None
    assert native(torch.device("meta"), torch.float32, 64) is None


def test_cohorts_of_a_pass_do_not_mix() -> None:
    """Two of a row each, as one of both."""

    def given(cohorts: Sequence[Cohort]) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        heads = torch.randn(8, 4, 32, generator=generator)
        queries: list[Queries] = []
        for cohort in cohorts:
            cohort.newest = [5] * len(cohort)
            cohort.begin_layer(0, torch.zeros(1, 1, 32))
            queries.append(cohort.queries())
        return passes(torch.float32)(queries).attend(0, heads[:, :2], heads[:, 2:3], heads[:, 3:], 0.3)

    apart = given([Cohort([[1] * 70], CPU), Cohort([[2] * 3], CPU)])
    assert torch.equal(apart, given([Cohort([[1] * 70, [2] * 3], CPU)]))
