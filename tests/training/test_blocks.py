"""Checkpointed and compiled blocks compute what plain ones do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from transformers import PreTrainedModel

from lidr import jsonl
from lidr.config import Layout
from lidr.training import blocks, microbatch, support, train
from lidr.training.logprobs import response_log_probs
from lidr.training.pairs import TokenPair
from tests.training.cases import LENGTHS, model, token_pairs_of
from tests.training.conftest import LORA, MakeJob

PAIRS = token_pairs_of(*LENGTHS)
LAYOUTS = (Layout.PADDED, Layout.PACKED, Layout.SHARED)


def computed(
    built: nn.Module, layout: Layout, pairs: tuple[TokenPair, ...] = PAIRS
) -> tuple[Tensor, list[Tensor]]:
    """Log-probs, and all gradients of their sum."""
    support.use_layout(built, layout)
    log_probs = response_log_probs(built, microbatch.make(pairs, range(len(pairs)), layout, 0))
    return log_probs.detach(), list(torch.autograd.grad(log_probs.sum(), list(built.parameters())))


def calls_of_attention(built: PreTrainedModel) -> Counter[int]:
    """How often each layer's attention runs, from now on."""
    calls: Counter[int] = Counter()
    for index, layer in enumerate(built.model.layers):
        layer.self_attn.register_forward_hook(lambda *_, index=index: calls.update([index]))
    return calls


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_checkpointing_computes_each_block_twice_and_changes_no_bit(layout: Layout, precision: str) -> None:
    plain, again = model(), model()
    blocks.prepare(again, checkpointing=True, compiled=False)
    calls = [calls_of_attention(built) for built in (plain, again)]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        (a, a_gradients), (b, b_gradients) = (computed(built, layout) for built in (plain, again))
    assert calls == [{0: 1, 1: 1}, {0: 2, 1: 2}]
    assert torch.equal(a, b)
    assert all(torch.equal(x, y) for x, y in zip(a_gradients, b_gradients, strict=True))


def kept_bytes(built: nn.Module) -> int:
    """What a forward keeps for the backward, parameters aside."""
    held: dict[int, int] = {}
    own = {parameter.data_ptr() for parameter in built.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            held[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    support.use_layout(built, Layout.SHARED)
    batch = microbatch.make(PAIRS, range(len(PAIRS)), Layout.SHARED, 0)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        log_probs = response_log_probs(built, batch)
    del log_probs
    return sum(held.values())


def test_checkpointing_keeps_less() -> None:
    plain, again = model(), model()
    blocks.prepare(again, checkpointing=True, compiled=False)
    assert kept_bytes(again) < kept_bytes(plain) / 3


@pytest.mark.parametrize("overrides", [{}, LORA], ids=["full", "lora"])
def test_a_training_with_checkpointing_is_the_same_training(
    make_job: MakeJob, tmp_path: Path, overrides: dict[str, Any]
) -> None:
    """The model and metrics.jsonl, bit for bit."""
    results = []
    for way in ("always", "never"):
        job = make_job(tmp_path / way, overrides | {"training.checkpointing": way})
        train(job)
        (weights,) = job.output.glob("*.safetensors")
        results.append((weights.read_bytes(), list(jsonl.read(job.metrics))))
    assert results[0] == results[1]


def test_a_model_without_blocks_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    blocks.prepare(nn.Linear(2, 2), checkpointing=True, compiled=False)
    assert caplog.messages == ["Linear has no blocks to checkpoint or compile"]
    blocks.prepare(nn.Linear(2, 2), checkpointing=False, compiled=False)
    assert len(caplog.messages) == 1


def test_nothing_is_changed_where_nothing_is_asked_for() -> None:
    built = model()
    blocks.prepare(built, checkpointing=False, compiled=False)
    assert not any("forward" in vars(block) for block in blocks.blocks(built))
    assert len(blocks.blocks(built)) == 2


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compilation up to the point where code would be generated, which takes up to a minute on one thread."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("traced")
@pytest.mark.filterwarnings("ignore")  # PyTorch 2.13's compiler warns of its own code
def test_compiled_blocks_give_the_same() -> None:
    """Also with other lengths, for which nothing is compiled again; on a CPU the attention is left as it is."""
    plain, compiled = model("one-layer-llama"), model("one-layer-llama")
    blocks.prepare(compiled, checkpointing=False, compiled=True)
    graphs = []
    for pairs in (PAIRS[:4], PAIRS[2:]):
        (a, a_gradients), (b, b_gradients) = (computed(m, Layout.SHARED, pairs) for m in (plain, compiled))
        torch.testing.assert_close(b, a, rtol=1e-6, atol=0)
        for x, y in zip(a_gradients, b_gradients, strict=True):
            assert (x - y).abs().max() <= 1e-5 * x.abs().max()
        graphs.append(counters["stats"]["unique_graphs"])
    assert 0 < graphs[0] == graphs[1]
    assert all("segment_attention" in reason for reason in counters["graph_break"])
