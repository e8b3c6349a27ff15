"""Sums over keys do not depend on how much room there is behind them, nor on how many queries are beside one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lidr.engines.cached_attention import _causal, _in_blocks, _seen, _weighted, guesses_change_no_bit

KEYS = 2048


def parts(dtype: torch.dtype, queries: int, keys: int) -> tuple[Tensor, Tensor]:
    """Weights of which only the first `keys` are not 0, and values."""
    generator = torch.Generator().manual_seed(queries)
    weights = torch.rand(6, queries, KEYS, generator=generator)
    weights[:, :, keys:] = 0
    return weights.to(dtype), torch.randn(6, KEYS, 64, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("queries", [1, 2, 3, 4, 9, 12, 48, 96])
def test_room_behind_the_keys_changes_no_bit(dtype: torch.dtype, queries: int) -> None:
    for keys in (50, 150, 200, 700, 1000, 1400):
        weights, values = parts(dtype, queries, keys)
        expected = _weighted(weights, values)
        for room in range(-(-keys // 64) * 64, KEYS, 64):
            assert torch.equal(
                _weighted(weights[:, :, :room].contiguous(), values[:, :room].contiguous()), expected
            )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_queries_beside_one_change_no_bit_where_it_is_said(dtype: torch.dtype) -> None:
    weights, values = parts(dtype, 48, 1400)
    whole = _weighted(weights, values)
    for queries in range(1, 48):
        if guesses_change_no_bit(queries, 1, dtype):
            few = _weighted(weights[:, :queries].contiguous(), values)
            assert torch.equal(few, whole[:, :queries]), queries


def test_of_how_few_heads_it_is_said() -> None:
    assert guesses_change_no_bit(9, 3, torch.bfloat16)
    assert not guesses_change_no_bit(9, 3, torch.float32)
    assert guesses_change_no_bit(32, 8, torch.float32)


@pytest.mark.parametrize(("new", "before"), [(1, 0), (40, 0), (256, 0), (300, 55), (600, 1)])
def test_prompts_in_blocks_are_those_of_transformers_own_attention(new: int, before: int) -> None:
    generator = torch.Generator().manual_seed(new)
    query = torch.randn(6, new, 16, generator=generator)
    keys, values = (torch.randn(2, new + before, 16, generator=generator) for _ in range(2))
    mask = _seen(new, new + before, query.device) if before else None
    found, expected = _in_blocks(query, keys, values, 0.25), _causal(query, keys, values, mask, 0.25)
    assert found.shape == expected.shape == (new, 6, 16)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
