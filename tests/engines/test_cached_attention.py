"""Sums over keys do not depend on how much room there is behind them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from lidr.engines import cached_attention
from lidr.engines.cached_attention import Newest, Prompts, _causal, _in_blocks, _seen, _weighted
from lidr.engines.cohort import NO_PREFIX, Cohort, KeysValues, Prefix
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


def test_prompts_at_once_are_those_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU's kernel is given; two openings, and a prompt without one."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    openings = [
        Prefix(range(n), {layer: KeysValues(*(drawn(1, 2, n, 8) for _ in range(2))) for layer in range(2)})
        for n in (9, 4)
    ]
    prefixes = [openings[0], NO_PREFIX, openings[1], openings[0]]
    lengths = [20, 7, 5, 70]
    time = sum(lengths) - sum(map(len, prefixes))
    qkv = [[drawn(time + 3, n, 8) for n in (4, 2, 2)] for _ in range(2)]
    found = []
    for at_once in (False, True):
        monkeypatch.setattr(cached_attention, "has_varlen", lambda _, at_once=at_once: at_once)
        monkeypatch.setattr(cached_attention, "varlen", one_by_one)
        cohort = Cohort([[1] * n for n in lengths], torch.device("cpu"))
        own = Prompts(cohort, prefixes)
        outs = [own.attend(layer, *tensors, 0.3) for layer, tensors in enumerate(qkv)]
        found.append([*outs, *(t for kept in cohort.layers.values() for t in kept)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def one_by_one(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_ends: Tensor,
    key_ends: Tensor,
    longest_query: int,
    longest_key: int,
    scale: float,
) -> Tensor:
    """What `varlen` computes, a sequence at a time, in other operators."""
    out = []
    assert (longest_query, longest_key) == (int(query_ends.diff().max()), int(key_ends.diff().max()))
    for q, k in zip(pairwise(query_ends.tolist()), pairwise(key_ends.tolist()), strict=True):
        keys, values = (t[slice(*k)].repeat_interleave(2, 1) for t in (key, value))
        scores = torch.einsum("qhw,khw->hqk", query[slice(*q)], keys) * scale
        new, length = scores.shape[1:]
        hidden = torch.arange(length) > torch.arange(length - new, length)[:, None]
        out.append(torch.einsum("hqk,khw->qhw", scores.masked_fill(hidden, -torch.inf).softmax(-1), values))
    return torch.cat(out)
