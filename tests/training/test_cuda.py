"""What only a GPU can show: the variable-length kernel, and that a step's forward never waits for it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lidr import jsonl
from lidr.config import Layout
from lidr.training import attention, blocks, microbatch, support, train
from lidr.training.logprobs import response_log_probs
from lidr.training.module import PreferenceModule
from lidr.training.segments import Segment, Segments
from tests.training.cases import LENGTHS, definition, model, token_pairs_of
from tests.training.conftest import LORA, MakeJob
from tests.training.test_same_bytes import trained, written

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICE = torch.device("cuda")
PAIRS = token_pairs_of(*LENGTHS)
LAYOUTS = (Layout.PADDED, Layout.PACKED, Layout.SHARED)
GPU = {"trainer.accelerator": "cuda", "trainer.precision": "bf16", "training.epochs": 1}
# A sequence alone; prompts shared with a longer and a shorter response; responses of one token.
ROW = [
    Segment(0, 70, 0, 0),
    Segment(70, 170, 70, 70),
    Segment(170, 300, 70, 110),
    Segment(300, 400, 300, 300),
    Segment(400, 420, 300, 390),
    Segment(420, 421, 420, 420),
    Segment(421, 422, 420, 421),
]


def results(by: Any, tensors: list[Tensor], segments: Segments) -> list[Tensor]:
    """The output, and the gradients of query, key and value."""
    *qkv, grad = tensors
    out = by(*qkv, segments, 0.1)
    return [out, *torch.autograd.grad(out, qkv, grad.to(out.dtype))]


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (6, 2), (8, 1)])
@pytest.mark.parametrize("width", [64, 128])
def test_one_kernel_equals_a_call_for_each_segment(heads: int, kv_heads: int, width: int) -> None:
    """bf16 against the fallback in fp32, relative to the largest value."""
    segments, generator = Segments(ROW).to(DEVICE), torch.Generator(DEVICE).manual_seed(0)
    shapes = [(1, n, ROW[-1].end, width) for n in (heads, kv_heads, kv_heads)]
    shapes.append((1, ROW[-1].end, heads, width))
    made = [torch.randn(shape, generator=generator, device=DEVICE).bfloat16() for shape in shapes]
    low = [t.clone().requires_grad_() for t in made[:3]] + made[3:]
    exact = [t.float().requires_grad_() for t in made[:3]] + [made[3].float()]
    ours = results(attention._varlen, low, segments)
    theirs = results(attention._by_segment, exact, segments)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert (a.float() - b).abs().max() <= 2e-2 * b.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma", "cohere", "gpt2"])
def test_log_probs_are_those_of_a_cpu(family: str, layout: Layout) -> None:
    """In fp32, where attention goes segment by segment."""
    built = model(family)
    expected = definition(built, PAIRS)
    support.use_layout(built.to(DEVICE), layout)
    batch = microbatch.make(PAIRS, range(len(PAIRS)), layout, 0).to(DEVICE)
    torch.testing.assert_close(response_log_probs(built, batch).cpu(), expected, rtol=1e-3, atol=1e-3)
    assert support.probe(built, PAIRS, Layout.SHARED, DEVICE) is None


@contextlib.contextmanager
def no_wait() -> Iterator[None]:
    """CUDA raises where the host would wait for it."""
    try:
        with warnings.catch_warnings(action="ignore"):  # it says that it is a prototype
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("logits", ["kept", "chunked"])
@pytest.mark.parametrize("layout", ["packed", "shared"])
@pytest.mark.parametrize("overrides", [{}, LORA], ids=["full", "lora"])
def test_a_step_in_bf16_starts_at_ln_2_and_never_waits(
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: dict[str, Any],
    layout: str,
    logits: str,
) -> None:
    """From the first forward to the last backward of a step, after one that loads kernels."""
    passes, steps = PreferenceModule._passes, []

    def watched(self: PreferenceModule, *args: Any) -> Any:
        steps.append(1)
        with no_wait() if len(steps) > 1 else contextlib.nullcontext():
            return passes(self, *args)

    monkeypatch.setattr(PreferenceModule, "_passes", watched)
    how = {"training.layout": layout, "training.logits": logits}
    job = make_job(tmp_path, GPU | how | overrides)
    train(job)
    first, *_, last = jsonl.read(job.metrics)
    assert len(steps) == 3
    assert first["train/dpo"] == pytest.approx(0.6931472, abs=1e-6)
    assert first["train/margin"] == 0.0
    assert last["train/loss"] < first["train/loss"]


@pytest.mark.parametrize("layout", ["padded", "packed", "shared"])
@pytest.mark.parametrize("overrides", [{}, LORA], ids=["full", "lora"])
def test_the_same_seed_is_the_same_bytes(
    make_job: MakeJob, tmp_path: Path, overrides: dict[str, Any], layout: str
) -> None:
    """Model, metrics and reference of two trainings; see docs/determinism.md."""
    given = GPU | {"training.layout": layout} | overrides
    first, second = (trained(make_job, tmp_path / name, given) for name in ("a", "b"))
    assert written(first) == written(second)


@pytest.mark.filterwarnings("ignore")  # PyTorch's compiler warns of its own code
def test_a_block_compiles_whole_with_packed_rows() -> None:
    """Without a break in its graph, and once for rows of other lengths and other numbers of segments."""
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    built, plain = (model("one-layer-llama").to(DEVICE, torch.bfloat16) for _ in range(2))
    blocks.prepare(built, checkpointing=False, compiled=True)
    graphs = []
    for pairs in (PAIRS[:3], PAIRS[1:], PAIRS[2:4]):
        batch = microbatch.make(pairs, range(len(pairs)), Layout.SHARED, 0).to(DEVICE)
        log_probs = []
        for one in (built, plain):
            support.use_layout(one, Layout.SHARED)
            log_probs.append(response_log_probs(one, batch))
            log_probs[-1].sum().backward()
        torch.testing.assert_close(*log_probs, rtol=2e-2, atol=0.5)
        graphs.append(counters["stats"]["unique_graphs"])
    assert not counters["graph_break"]
    assert graphs[0] <= graphs[1] == graphs[2] <= 2
