"""Rows in places that stay, without the graphs of a GPU; the kernel on a GPU or by Triton's interpreter."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lidr import kernels
from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines import prepare, probe, transformers
from lidr.engines.base import Completion, Request
from lidr.engines.cached_attention import Turns
from lidr.engines.cohort import Cohort, KeysValues
from lidr.engines.graphs import GraphDecoder
from lidr.engines.slot_attention import SlotPass, attended
from lidr.engines.slots import Slots
from lidr.engines.transformers import TransformersEngine
from tests import tiny
from tests.engines.attending import by_hand

CUDA = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and kernels.triton is not None
DEVICE = torch.device("cuda" if CUDA else "cpu")
GREEDY = SamplingConfig(max_new_tokens=24, repetition_penalty=1.1)
SAMPLED = SamplingConfig(max_new_tokens=24, repetition_penalty=1.0, temperature=1.0, top_p=0.9)
REQUESTS = [Request(f"k{i}", "word " * (i % 5) + str(i), "<t>" if i % 2 else "") for i in range(11)]


def answers(batches: Iterable[list[Completion]]) -> dict[str, Completion]:
    return {c.key: c for batch in batches for c in batch}


def engine(size: int, budget: int | None = None) -> TransformersEngine:
    return TransformersEngine(tiny.model(), ChatFormat(tiny.tokenizer(), None), size, budget)


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> list[GraphDecoder]:
    """Slots on the CPU too; those that were made."""
    made: list[GraphDecoder] = []

    class Watched(GraphDecoder):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(transformers, "has_graphs", lambda _: True)
    monkeypatch.setattr(transformers, "GraphDecoder", Watched)
    return made


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize(("size", "budget"), [(1, None), (4, None), (64, None), (8, 600), (8, 1)])
def test_answers_are_those_of_cohorts(
    sampling: SamplingConfig,
    size: int,
    budget: int | None,
    decoders: list[GraphDecoder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cohorts give those of plain `generate`. The budget decides how many places there are."""
    found = answers(engine(size, budget).stream(REQUESTS, sampling))
    (decoder,) = decoders
    assert decoder.slots.places == (size if budget is None else max(1, budget // 256))
    monkeypatch.undo()
    assert found == answers(engine(4).stream(REQUESTS, sampling))
    assert len(decoders) == 1


@pytest.mark.parametrize("wrong", [False, True])
def test_the_first_prompts_are_looked_at_in_slots(wrong: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that would answer otherwise there is found."""
    monkeypatch.setattr(probe, "has_graphs", lambda _: True)
    right = SlotPass.attend
    if wrong:
        monkeypatch.setattr(SlotPass, "attend", lambda self, *asked: right(self, *asked).roll(1, 0))
    model = tiny.model()
    found = probe.disagreement(model, [list(range(5, 40)), list(range(70, 80))], "sdpa")
    assert (found.problem is not None) == wrong
    assert wrong or found.bytes_per_token == 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, width, fp32


def test_longer_rows_get_new_slots(decoders: list[GraphDecoder], monkeypatch: pytest.MonkeyPatch) -> None:
    """A window's rows fit, or what is under way ends first."""
    monkeypatch.setattr(transformers, "_ROOM", 32)
    monkeypatch.setattr(prepare, "WINDOW", 3)
    requests = [replace(r, key=f"{n}{r.key}", user=r.user * n) for n in (1, 4, 1) for r in REQUESTS[:3]]
    found = answers(engine(2).stream(requests, GREEDY))
    assert [d.room for d in decoders] == sorted({d.room for d in decoders})
    assert len(decoders) > 1
    monkeypatch.undo()
    assert found == answers(engine(4).stream(requests, GREEDY))


def cohort(first: int, *prompts: list[int]) -> Cohort:
    """Each key and value is its token."""
    made = Cohort(prompts, torch.device("cpu"))
    for layer in range(2):
        for t in made.begin_layer(layer, torch.zeros(1, 2, 3)):
            for row, prompt in enumerate(prompts):
                t[row, :, : len(prompt)] = torch.tensor(prompt).float()[None, :, None]
    made.begin([first + row for row in range(len(prompts))])
    return made


def test_rows_come_and_go() -> None:
    slots = Slots(3, 100, torch.device("cpu"))
    assert slots.join(cohort(50, [5, 6, 7], [8])) == [0, 1]
    kept = slots.layers[1].keys
    slots.drop(0)
    assert slots.join(cohort(60, [9, 10], [11])) == [0, 1, 2]
    assert (slots.lengths, slots.newest) == ([1, 2, 1], [51, 60, 61])
    assert slots.tokens[:, :3].tolist() == [[8, 51, 8], [9, 10, 60], [11, 61, 11]]
    assert slots.layers[1].keys is kept
    assert [kept[row, 0, :n, 0].tolist() for row, n in enumerate(slots.lengths)] == [[8], [9, 10], [11]]
    slots.go_on([[1], [2], [3]])
    slots.drop(1)
    slots.drop(1)
    assert slots.tokens[:, :4].tolist() == [[8, 51, 1, 8]]


@pytest.mark.skipif(not (CUDA or INTERPRETED), reason="neither a CUDA device nor Triton's interpreter")
@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize(
    ("dtype", "close"), [(torch.float32, 1e-5), (torch.float16, 4e-3), (torch.bfloat16, 2e-2)], ids=str
)
@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(6, 2, 32), (9, 3, 64), (4, 4, 24), (32, 1, 8)])
def test_the_kernel(
    heads: int,
    kv_heads: int,
    width: int,
    dtype: torch.dtype,
    close: float,
    turned: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against sums by hand in fp64; slots of no, one, a block's and many tokens."""
    if not CUDA and dtype == torch.bfloat16:
        pytest.skip("Triton's interpreter multiplies no bf16")
    if not CUDA:
        monkeypatch.setattr(kernels, "on_device_of", lambda _: contextlib.nullcontext())
    lengths, generator = [0, 1, 64, 65, 150], torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(DEVICE, dtype)

    kept = KeysValues(*(drawn(7, kv_heads, 192, width) for _ in range(2)))
    before = [t.clone() for t in kept]
    query, key, value = (drawn(n, 5, width).transpose(0, 1) for n in (heads, kv_heads, kv_heads))
    embeddings = (drawn(1, 5, width), drawn(1, 5, width)) if turned else None
    out = attended(query, key, value, kept, torch.tensor(lengths, device=DEVICE), 0.25, embeddings)
    if embeddings is not None:
        exact = tuple(t.double() for t in embeddings)
        query, key = (Turns().turned(t.double(), exact).to(dtype) for t in (query, key))  # type: ignore[arg-type]
    for slot, length in enumerate(lengths):
        for own, new in zip(before, (key, value), strict=True):
            own[slot, :, length] = new[slot]
        keys, values = (t[slot, :, : length + 1] for t in before)
        expected = by_hand(query[slot], keys, values)
        assert (out[slot].double() - expected).abs().max() <= close * expected.abs().max()
    for found, own in zip(kept, before, strict=True):
        torch.testing.assert_close(found, own, rtol=close, atol=close)


def test_without_the_kernel_by_operators() -> None:
    """A pass of fewer rows than there are slots."""
    generator = torch.Generator().manual_seed(0)
    kept = KeysValues(*(torch.randn(4, 2, 64, 8, generator=generator) for _ in range(2)))
    query, key, value = (torch.randn(2, n, 8, generator=generator) for n in (6, 2, 2))
    found = SlotPass({0: kept}, torch.tensor([3, 40])).attend(0, query, key, value, 0.25)
    for slot, length in enumerate((3, 40)):
        assert torch.equal(kept.keys[slot, :, length], key[slot])
        keys, values = (t[slot, :, : length + 1] for t in kept)
        torch.testing.assert_close(
            found[slot].double(), by_hand(query[slot], keys, values), rtol=1e-5, atol=1e-5
        )
