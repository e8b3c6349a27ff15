"""Sums over keys do not depend on how much room there is behind them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lidr.engines import queries
from lidr.engines.cached_attention import Newest, _causal, _in_blocks, _seen, _weighted
from lidr.engines.cohort import Cohort

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


@pytest.mark.parametrize("shared", [1, 2, 3, 4, 8])
def test_room_behind_the_keys_changes_no_bit_of_the_fused_kernel_in_bf16(shared: int) -> None:
    generator = torch.Generator().manual_seed(shared)
    keys, values = (torch.randn(2, 3, KEYS, 64, generator=generator).bfloat16() for _ in range(2))
    query = torch.randn(2, 3, shared, 64, generator=generator).bfloat16()
    for seen in (50, 150, 200, 700, 1000, 1400):
        mask = torch.zeros(KEYS, dtype=torch.bfloat16)
        mask[seen:] = -torch.inf
        expected: Tensor | None = None
        for room in range(-(-seen // 64) * 64, KEYS, 64):
            own = mask[:room].expand(2, 1, shared, room)
            found = scaled_dot_product_attention(query, keys[:, :, :room], values[:, :, :room], attn_mask=own)
            expected = found if expected is None else expected
            assert torch.equal(found, expected), (seen, room)


@pytest.mark.parametrize(("new", "before"), [(1, 0), (40, 0), (256, 0), (300, 55), (600, 1)])
def test_prompts_in_blocks_are_those_of_transformers_own_attention(new: int, before: int) -> None:
    generator = torch.Generator().manual_seed(new)
    query = torch.randn(6, new, 16, generator=generator)
    keys, values = (torch.randn(2, new + before, 16, generator=generator) for _ in range(2))
    mask = _seen(new, new + before, query.device) if before else None
    found, expected = _in_blocks(query, keys, values, 0.25), _causal(query, keys, values, mask, 0.25)
    assert found.shape == expected.shape == (new, 6, 16)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


HEADS, KV_HEADS, WIDTH = 6, 2, 16
GUESSES: dict[str, list[int]] = {
    "none": [0] * 5,
    "one": [0, 3, 0, 0, 0],
    "most": [7, 2, 0, 1, 4],
    "all": [1] * 5,
}


def attended(guesses: list[int], dtype: torch.dtype, rows: slice) -> tuple[Tensor, list[Tensor]]:
    """What a pass gives its tokens, row after row, and the same by hand, in fp64."""
    generator = torch.Generator().manual_seed(0)
    lengths = [70, 30, 65, 5, 300]
    longest = max(lengths) + max(guesses) + 1
    keys, values = (torch.randn(5, KV_HEADS, longest, WIDTH, generator=generator).to(dtype) for _ in range(2))
    query = torch.randn(5, max(guesses) + 1, HEADS, WIDTH, generator=generator).to(dtype)
    cohort = Cohort([[1] * length for length in lengths[rows]], torch.device("cpu"))
    cohort.newest = [2] * len(cohort)
    cohort.guesses = [[1] * count for count in guesses[rows]]
    kept = cohort.begin_layer(0, keys[0].transpose(0, 1))
    new: list[tuple[Tensor, Tensor, Tensor]] = []
    expected = []
    for place, row in enumerate(range(5)[rows]):
        length, count = lengths[row], 1 + guesses[row]
        for own, whole in zip(kept, (keys, values), strict=True):
            own[place, :, :length] = whole[row, :, :length]
        own = slice(length, length + count)
        new.append(
            (query[row, :count], keys[row, :, own].transpose(0, 1), values[row, :, own].transpose(0, 1))
        )
        for i in range(count):
            k, v = (t[row, :, : length + i + 1].double().repeat_interleave(3, 0) for t in (keys, values))
            scores = torch.einsum("hw,hkw->hk", query[row, i].double(), k) / 4
            expected.append(torch.einsum("hk,hkw->hw", scores.softmax(-1), v))
    q, k, v = (torch.cat(parts) for parts in zip(*new, strict=True))
    return Newest([cohort.queries()]).attend(0, q, k, v, 0.25), expected


@pytest.fixture(params=[1, queries._CALLS_BYTES], ids=["apart", "together"])
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in many segments, and in few."""
    monkeypatch.setattr(queries, "_CALLS_BYTES", request.param)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("guesses", GUESSES.values(), ids=GUESSES)
@pytest.mark.usefixtures("calls")
def test_tokens_see_what_is_kept_of_their_row(guesses: list[int], dtype: torch.dtype, close: float) -> None:
    found, expected = attended(guesses, dtype, slice(None))
    torch.testing.assert_close(found.double(), torch.stack(expected), rtol=close, atol=close)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("guesses", GUESSES.values(), ids=GUESSES)
@pytest.mark.usefixtures("calls")
def test_other_rows_change_no_bit(guesses: list[int], dtype: torch.dtype) -> None:
    whole = attended(guesses, dtype, slice(None))[0]
    part = attended(guesses, dtype, slice(1, 4))[0]
    start = 1 + guesses[0]
    assert torch.equal(whole[start : start + len(part)], part)
