"""Sums over keys do not depend on how much room there is behind them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lidr.engines.cached_attention import Newest, _causal, _in_blocks, _seen, _weighted
from tests.engines.attending import attended

KEYS = 2048


def parts(queries: int, keys: int) -> tuple[Tensor, Tensor]:
    """Weights of which only the first `keys` are not 0, and values."""
    generator = torch.Generator().manual_seed(queries)
    weights = torch.rand(6, queries, KEYS, generator=generator)
    weights[:, :, keys:] = 0
    return weights, torch.randn(6, KEYS, 64, generator=generator)


@pytest.mark.parametrize("queries", [1, 2, 3, 4, 9, 12, 48, 96])
def test_room_behind_the_keys_changes_no_bit(queries: int) -> None:
    for keys in (50, 150, 200, 700, 1000, 1400):
        weights, values = parts(queries, keys)
        expected = _weighted(weights, values)
        for room in range(-(-keys // 64) * 64, KEYS, 64):
            assert torch.equal(
                _weighted(weights[:, :, :room].contiguous(), values[:, :room].contiguous()), expected
            )


@pytest.mark.parametrize(("new", "before"), [(1, 0), (40, 0), (256, 0), (300, 55), (600, 1)])
def test_prompts_in_blocks_are_those_of_transformers_own_attention(new: int, before: int) -> None:
    generator = torch.Generator().manual_seed(new)
    query = torch.randn(6, new, 16, generator=generator)
    keys, values = (torch.randn(2, new + before, 16, generator=generator) for _ in range(2))
    mask = _seen(new, new + before, query.device) if before else None
    found, expected = _in_blocks(query, keys, values, 0.25), _causal(query, keys, values, mask, 0.25)
    assert found.shape == expected.shape == (new, 6, 16)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_newest_tokens_see_what_is_kept_of_their_row(dtype: torch.dtype, close: float) -> None:
    found, expected = attended(Newest, [0] * 5, dtype)
    torch.testing.assert_close(found.double(), expected, rtol=close, atol=close)


def test_other_rows_change_no_bit_in_fp32() -> None:
    whole = attended(Newest, [0] * 5, torch.float32)[0]
    part = attended(Newest, [0] * 5, torch.float32, slice(1, 4))[0]
    assert torch.equal(whole[1:4], part)
