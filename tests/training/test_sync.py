"""Between the start of an optimizer step and the end of its last backward nothing waits for the device, in packed
rows: for padded ones transformers looks whether their mask has zeros.

On a GPU every value the host reads stops it until the device has caught up. Here such reads are seen on a CPU, at
the dispatcher, where Python's and PyTorch's own come by; `test_cuda.py` asks CUDA itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lidr.config import Layout
from lidr.training import attention, fused, microbatch, support, train
from lidr.training.logprobs import response_log_probs
from lidr.training.module import PreferenceModule
from tests.training.cases import LENGTHS, model, token_pairs_of
from tests.training.conftest import LORA, MakeJob

# Operators that read a value, or whose result has a shape that depends on one.
READING = {
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
}


class Reads(TorchDispatchMode):
    """Names of the operators, while it is on, that make the host wait for values."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        mask = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        counted = name == "repeat_interleave" and (kwargs or {}).get("output_size") is None
        if name in READING or mask or counted:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda t: t.sum().item(), "_local_scalar_dense"),
        (lambda t: float(t.sum()), "_local_scalar_dense"),
        (lambda t: bool((t > 0).any()), "_local_scalar_dense"),
        (lambda t: t[t > 0], "index"),
        (lambda t: t.nonzero(), "nonzero"),
        (lambda t: t.repeat_interleave(t.long()), "repeat_interleave"),
    ],
)
def test_reads_are_seen(read: Any, name: str) -> None:
    with Reads() as reads:
        read(torch.ones(3))
    assert name in reads.seen or "is_nonzero" in reads.seen


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU without the flash kernel does; and `tolist`, which no operator of a CPU tells of."""
    monkeypatch.setattr(attention, "_on_cpu", lambda *given: attention._by_segment(*given[:5]))
    monkeypatch.setattr(fused, "_output_suffices", lambda *_: False)
    tolist = torch.Tensor.tolist

    def told(self: torch.Tensor) -> Any:
        self.sum().item()
        return tolist(self)

    monkeypatch.setattr(torch.Tensor, "tolist", told)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("logits", ["kept", "chunked"])
@pytest.mark.parametrize("layout", ["packed", "shared"])
@pytest.mark.parametrize(
    "overrides",
    [{}, LORA, {"trainer.precision": "bf16"}, {"training.checkpointing": "always"}],
    ids=["full", "lora", "bf16", "checkpointed"],
)
def test_a_step_reads_nothing_until_its_last_backward(
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: dict[str, Any],
    layout: str,
    logits: str,
) -> None:
    seen: list[list[str]] = []
    passes = PreferenceModule._passes

    def watched(self: PreferenceModule, *args: Any) -> Any:
        with Reads() as reads:
            result = passes(self, *args)
        seen.append(reads.seen)
        return result

    monkeypatch.setattr(PreferenceModule, "_passes", watched)
    how = {"training.layout": layout, "training.logits": logits, "training.epochs": 1}
    train(make_job(tmp_path, how | overrides))
    assert seen == [[], [], []]


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("family", ["gemma", "qwen2", "cohere"])
def test_neither_do_other_families(family: str) -> None:
    pairs, built = token_pairs_of(*LENGTHS), model(family)
    support.use_layout(built, Layout.SHARED)
    batch = microbatch.make(pairs, range(len(pairs)), Layout.SHARED, 0)
    response_log_probs(built, batch)  # finds out about the head
    with Reads() as reads:
        response_log_probs(built, batch).sum().backward()
    assert reads.seen == []
