"""Attention by segment against attention over the whole row with a dense mask."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lidr.training import attention, cpu_attention, segments
from lidr.training.segments import Segment, Segments

# Tokens of a sequence, and of the segments that go on from its first half.
ROWS = st.lists(
    st.tuples(st.integers(1, 12), st.lists(st.integers(1, 12), max_size=3)), min_size=1, max_size=4
)
WIDTH = 4


def segments_of(row: list[tuple[int, list[int]]]) -> list[Segment]:
    """Sequences, each followed by the segments that go on from its first half (or its only token)."""
    found, end = [], 0
    for length, others in row:
        start, prefix = end, max(1, length // 2)
        end += length
        found.append(Segment(start, end, start, start))
        for other in others:
            found.append(Segment(end, end + other, start, start + prefix))
            end += other
    return found


def tensors(time: int, kv_heads: int, groups: int, dtype: torch.dtype, seed: int = 0) -> list[Tensor]:
    """Query, key, value and the gradient of the output."""
    generator = torch.Generator().manual_seed(seed)
    heads = [kv_heads * groups, kv_heads, kv_heads]
    made = [torch.randn(1, h, time, WIDTH, generator=generator).to(dtype) for h in heads]
    grad = torch.randn(1, time, heads[0], WIDTH, generator=generator).to(dtype)
    return [*(t.requires_grad_() for t in made), grad]


def dense(query: Tensor, key: Tensor, value: Tensor, row: list[Segment], scale: float) -> Tensor:
    """softmax(q k^T * scale) v in fp64, with everything masked that is not a token's own segment or prefix."""
    seen = torch.zeros(query.shape[2], query.shape[2], dtype=torch.bool)
    for segment in row:
        for i in range(segment.start, segment.end):
            seen[i, segment.start : i + 1] = True
            seen[i, segment.prefix : segment.prefix_end] = True
    groups = query.shape[1] // key.shape[1]
    k, v = (t.double().repeat_interleave(groups, dim=1) for t in (key, value))
    scores = (query.double() @ k.transpose(2, 3) * scale).masked_fill(~seen, -torch.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2)


def by_block(query: Tensor, key: Tensor, value: Tensor, row: list[Segment], scale: float) -> Tensor:
    return cpu_attention.segment_attention(query, key, value, Segments(row), scale)


def by_segment(query: Tensor, key: Tensor, value: Tensor, row: list[Segment], scale: float) -> Tensor:
    return attention._by_segment(query, key, value, Segments(row), scale)


Attend = Callable[[Tensor, Tensor, Tensor, list[Segment], float], Tensor]


def results(attend: Attend, inputs: list[Tensor], row: list[Segment]) -> list[Tensor]:
    """The output, and the gradients of query, key and value."""
    *qkv, grad = inputs
    out = attend(*qkv, row, 0.4)
    return [out, *torch.autograd.grad(out, qkv, grad.to(out.dtype))]


def error(attend: Attend, inputs: list[Tensor], row: list[Segment]) -> float:
    """The largest distance from the dense attention, relative to its largest value or 1."""
    pairs = zip(results(attend, inputs, row), results(dense, inputs, row), strict=True)
    return max(((a - b).abs().max() / b.abs().max().clamp(min=1)).item() for a, b in pairs)


@settings(deadline=None, max_examples=80, derandomize=True)
@given(ROWS, st.integers(1, 3), st.integers(1, 2), st.sampled_from([1, 3, 8, 128]))
def test_segments_attend_as_under_a_dense_mask(
    lengths: list[tuple[int, list[int]]], groups: int, kv_heads: int, block: int
) -> None:
    """In blocks of so many queries; the largest error measured is 1e-6."""
    row = segments_of(lengths)
    inputs = tensors(row[-1].end, kv_heads, groups, torch.float32)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(segments, "BLOCK", block)
        assert error(by_block, inputs, row) < 3e-6


@settings(deadline=None, max_examples=40, derandomize=True)
@given(ROWS, st.integers(1, 3), st.integers(1, 2))
def test_the_fallback_attends_as_under_a_dense_mask(
    lengths: list[tuple[int, list[int]]], groups: int, kv_heads: int
) -> None:
    row = segments_of(lengths)
    assert error(by_segment, tensors(row[-1].end, kv_heads, groups, torch.float64), row) < 1e-12


@settings(deadline=None, max_examples=60, derandomize=True)
@given(ROWS, st.sampled_from([1, 3, 8, 128]))
def test_blocks_hold_every_query_once_and_the_keys_it_may_see(
    lengths: list[tuple[int, list[int]]], block: int
) -> None:
    row = segments_of(lengths)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(segments, "BLOCK", block)
        parts = Segments(row).parts(torch.float32)
    blocks = [b for part in parts for b in part.blocks]
    assert [b.start for b in blocks] == [0, *(b.end for b in blocks[:-1])]
    assert blocks[-1].end == row[-1].end
    assert all(0 < len(b) <= block for b in blocks)
    for part in parts:
        keys = torch.cat([torch.arange(*own) for own in part.ranges])
        assert part.blocks[-1].keys == len(keys)
        assert torch.equal(part.keys(torch.arange(row[-1].end), 0), keys)


@pytest.mark.parametrize("block", [4, 128])
def test_in_bf16_the_products_are_bf16(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured: 8e-3."""
    monkeypatch.setattr(segments, "BLOCK", block)
    row = segments_of([(9, [3, 8]), (4, []), (2, [6])])
    inputs = tensors(row[-1].end, 2, 3, torch.bfloat16)
    assert all(t.dtype is torch.bfloat16 for t in results(by_block, inputs, row))
    assert error(by_block, inputs, row) < 2e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_weights_that_are_kept_give_the_same_bits(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "BLOCK", 4)
    row = segments_of([(9, [3, 8]), (4, []), (2, [6])])
    inputs = tensors(row[-1].end, 2, 3, dtype)

    def keeping(query: Tensor, key: Tensor, value: Tensor, row: list[Segment], scale: float) -> Tensor:
        return cpu_attention.segment_attention(query, key, value, Segments(row), scale, keep_weights=True)

    ours, theirs = results(keeping, inputs, row), results(by_block, inputs, row)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_memory_that_is_used_again_leaks_nothing() -> None:
    """A short row after a long one, and a forward between another's forward and backward."""
    short, long = segments_of([(3, [2])]), segments_of([(12, [9, 4]), (7, [])])
    inputs = [tensors(row[-1].end, 2, 2, torch.float32, seed) for seed, row in enumerate((short, long))]
    alone = [results(by_block, made, row) for made, row in zip(inputs, (short, long), strict=True)]
    first, second = (by_block(*made[:3], row, 0.4) for made, row in zip(inputs, (short, long), strict=True))
    for out, made, expected in ((first, inputs[0], alone[0]), (second, inputs[1], alone[1])):
        gradients = torch.autograd.grad(out, made[:3], made[3])
        assert all(torch.equal(a, b) for a, b in zip((out, *gradients), expected, strict=True))


def test_only_what_is_asked_for_is_kept_for_a_backward() -> None:
    row = segments_of([(5, [2])])
    *qkv, _ = tensors(row[-1].end, 1, 1, torch.float32)
    with torch.no_grad():
        assert by_block(*qkv, row, 0.4).grad_fn is None


def test_without_segments_it_is_an_error() -> None:
    query, key, value, _ = tensors(3, 1, 1, torch.float32)
    with pytest.raises(RuntimeError, match="without packed_segments"):
        attention.packed_attention(torch.nn.Identity(), query, key, value, None)


def test_the_scale_is_the_models_or_the_root_of_the_width() -> None:
    row = [Segment(0, 5, 0, 0)]
    query, key, value, _ = tensors(5, 1, 1, torch.float32)
    for scaling, scale in ((None, WIDTH**-0.5), (0.3, 0.3)):
        out, weights = attention.packed_attention(
            torch.nn.Identity(), query, key, value, None, scaling, packed_segments=Segments(row)
        )
        torch.testing.assert_close(out.double(), dense(query, key, value, row, scale))
        assert weights is None


def test_tables_for_the_kernels_by_hand() -> None:
    """[prompt of 2 | chosen of 2 | rejected of 3]."""
    made = Segments([Segment(0, 4, 0, 0), Segment(4, 7, 0, 2)])
    assert made.tables.query_ends.tolist() == [0, 4, 7]
    assert made.tables.key_ends.tolist() == [0, 4, 9]
    assert made.tables.key_index.tolist() == [0, 1, 2, 3, 0, 1, 4, 5, 6]
    assert (made.longest_query, made.longest_key) == (4, 5)


def test_blocks_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """[prompt of 2 | chosen of 2 | rejected of 3]: together with a mask of the row, or in blocks of 3 queries."""
    row = [Segment(0, 4, 0, 0), Segment(4, 7, 0, 2)]
    ((ranges, (together,)),) = Segments(row).parts(torch.float32)
    assert (ranges, together.start, together.end, together.keys) == (((0, 7),), 0, 7, 7)
    assert (together.mask == 0).int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 1, 0, 0],
        [1, 1, 0, 0, 1, 1, 0],
        [1, 1, 0, 0, 1, 1, 1],
    ]
    monkeypatch.setattr(segments, "BLOCK", 3)
    first, second = Segments(row).parts(torch.float32)
    assert (first.ranges, second.ranges) == (((0, 4),), ((0, 2), (4, 7)))
    assert [(b.start, b.end, b.keys) for b in first.blocks] == [(0, 3, 3), (3, 4, 4)]
    assert [(b.start, b.end, b.keys) for b in second.blocks] == [(4, 7, 5)]
