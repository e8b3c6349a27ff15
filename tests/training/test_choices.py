"""What is chosen where nothing is asked for, why, and that it stays chosen."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from lidr import machine
from lidr.config import Layout, Precision
from lidr.training import choices, cost, fitting
from lidr.training.batching import Batcher, Step
from lidr.training.choices import Choices, precision_of, settle
from lidr.training.situation import Situation
from tests.training.cases import LENGTHS, model, token_pairs_of
from tests.training.conftest import MakeConfig

PAIRS = token_pairs_of(*LENGTHS)
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
GIB = 2**30


@pytest.fixture(scope="module")
def tiny() -> PreTrainedModel:
    return model()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What PyTorch was told."""
    told: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    return told


def with_memory(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda device: size)


def with_seconds(monkeypatch: pytest.MonkeyPatch, by_threads: dict[int, float]) -> None:
    """On a machine of as many cores as the last number of threads."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(max(by_threads))), raising=False)
    monkeypatch.setattr(choices, "_seconds", lambda model, batch, count: by_threads[count])


@pytest.fixture
def situation(make_config: MakeConfig) -> Any:
    def make(overrides: dict[str, Any] | None = None) -> Situation:
        steps = (Step(0, tuple(range(len(PAIRS)))),)
        return Situation(make_config(overrides), CPU, Precision.FP32, PAIRS, steps, 0)

    return make


@pytest.mark.usefixtures("threads")
def test_what_was_chosen_stays_although_the_machine_changes(
    tiny: PreTrainedModel, situation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = situation({"trainer.threads": None})
    with_memory(monkeypatch, 10 * GIB)
    with_seconds(monkeypatch, {1: 1.0, 2: 0.5})
    first = settle(tiny, asked, tmp_path / "choices.json")
    written = (tmp_path / "choices.json").read_bytes()
    assert (first.layout, first.threads, first.keep_logits, first.checkpointing) == (
        Layout.SHARED,
        2,
        True,
        False,
    )
    with_memory(monkeypatch, 0)
    with_seconds(monkeypatch, {1: 0.1, 2: 0.5})
    assert settle(tiny, asked, tmp_path / "choices.json") == first
    assert (tmp_path / "choices.json").read_bytes() == written
    assert settle(tiny, asked, tmp_path / "other.json").threads == 1


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    "overrides",
    [
        {"training.token_budget": 80},
        {"training.layout": "packed"},
        {"training.logits": "chunked"},
        {"training.checkpointing": "always"},
        {"trainer.threads": 2},
    ],
    ids=lambda overrides: "".join(overrides),
)
def test_other_values_are_chosen_for_anew(
    tiny: PreTrainedModel, situation: Any, tmp_path: Path, overrides: dict[str, Any]
) -> None:
    path = tmp_path / "choices.json"
    first, second = settle(tiny, situation(), path), settle(tiny, situation(overrides), path)
    assert first.asked != second.asked == json.loads(path.read_text())["asked"]
    assert settle(tiny, situation({"training.lr": 0.5}), path).asked == first.asked, "what does not matter"


def test_another_precision_or_device_is_chosen_for_anew(situation: Any) -> None:
    here = situation()
    others = {replace(here, precision=Precision.BF16).asked, replace(here, device=CUDA).asked}
    assert len(others | {here.asked}) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"', "{}"])
def test_a_torn_file_is_written_anew(
    tiny: PreTrainedModel, situation: Any, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "choices.json"
    path.write_text(content)
    made = settle(tiny, situation(), path)
    assert json.loads(path.read_text())["asked"] == made.asked


def test_a_file_of_another_version_is_written_anew(
    tiny: PreTrainedModel, situation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory(monkeypatch, GIB)
    path = tmp_path / "choices.json"
    made = settle(tiny, situation(), path)
    values = json.loads(path.read_text())
    for other in ({**values, "unknown": 1}, {k: v for k, v in values.items() if k != "threads"}):
        path.write_text(json.dumps(other))
        assert settle(tiny, situation(), path) == made


@pytest.mark.parametrize(
    ("abilities", "chosen"),
    [
        ({"avx512_bf16": True}, Precision.BF16),
        ({"amx_bf16": True}, Precision.BF16),
        ({"avx2": True, "avx512_bf16": False}, Precision.FP32),
        ({}, Precision.FP32),
    ],
)
def test_auto_precision_on_a_cpu(
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    abilities: dict[str, bool],
    chosen: Precision,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)
    with caplog.at_level(logging.INFO, "lidr.training"):
        assert precision_of(make_config({"trainer.precision": "auto"}), CPU) is chosen
    has = "has" if chosen is Precision.BF16 else "has no"
    assert caplog.messages == [f"precision {chosen}: this CPU {has} instructions for bf16"]


@pytest.mark.parametrize("native", [True, False])
def test_auto_precision_on_a_gpu(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    chosen = precision_of(make_config({"trainer.precision": "auto"}), CUDA)
    assert chosen is (Precision.BF16 if native else Precision.FP32)


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_a_precision_that_was_asked_for_is_taken(make_config: MakeConfig, asked: str) -> None:
    assert precision_of(make_config({"trainer.precision": asked}), CPU) == asked


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0, 2: 0.6, 4: 0.5, 6: 0.3}, 6),
        ({1: 1.0, 2: 0.5, 4: 0.49, 6: 0.48}, 2),
        ({1: 1.0, 2: 0.96, 4: 0.97, 6: 0.96}, 1),
        ({1: 1.0, 2: 0.96, 4: 0.93, 6: 0.9}, 4),
        ({1: 1.0, 2: 1.5, 4: 2.0, 6: 0.5}, 6),
    ],
)
def test_the_fewest_threads_that_are_as_fast(
    tiny: PreTrainedModel,
    situation: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    threads: list[int],
    seconds: dict[int, float],
    best: int,
) -> None:
    """More threads must save 5 %; powers of 2 are tried, and all cores."""
    with_seconds(monkeypatch, seconds)
    with caplog.at_level(logging.INFO, "lidr.training"):
        made = settle(tiny, situation({"trainer.threads": None}), tmp_path / "choices.json")
    assert made.threads == best == threads[-1]
    measured = ", ".join(f"{count}: {1000 * s:.0f} ms" for count, s in seconds.items())
    assert f"threads {best}: a forward took, by threads, {measured}" in caplog.messages


def test_threads_are_measured_on_the_pair_of_median_length(
    tiny: PreTrainedModel, situation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens of the pairs, each with its prompt twice: 21, 31, 29, 40, 32, 28."""
    measured = []
    with_seconds(monkeypatch, {1: 1.0, 2: 1.0})
    monkeypatch.setattr(choices, "_seconds", lambda model, batch, count: measured.append(batch) or 1.0)
    settle(tiny, situation({"trainer.threads": None}), tmp_path / "choices.json")
    assert [batch.pairs.tolist() for batch in measured] == [[1], [1]]
    assert all(batch.segments is not None for batch in measured)


def test_threads_that_were_asked_for_are_not_measured(
    tiny: PreTrainedModel, situation: Any, tmp_path: Path, threads: list[int]
) -> None:
    made = settle(tiny, situation({"trainer.threads": 3}), tmp_path / "choices.json")
    assert threads == [3]
    assert not any("threads" in reason for reason in made.reasons)


def chosen_for(
    tiny: PreTrainedModel, situation: Situation, folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> Choices:
    with_memory(monkeypatch, size)
    return settle(tiny, situation, folder / f"{size}.json")


def ways(
    tiny: PreTrainedModel, situation: Situation, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[bool, bool]]:
    """(keep_logits, checkpointing) as memory shrinks, each once."""
    monkeypatch.setattr(cost, "CHUNK_ELEMENTS", 100)  # one row, so that a chunk is smaller than all
    sizes = [int(GIB * 0.9**k) for k in range(110)]
    found = [chosen_for(tiny, situation, folder, monkeypatch, size) for size in sizes]
    return list(dict.fromkeys((made.keep_logits, made.checkpointing) for made in found))


def test_less_memory_chunks_logits_then_checkpoints(
    tiny: PreTrainedModel, situation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = situation({"training.layout": "padded", "training.token_budget": 10_000})
    found = ways(tiny, asked, tmp_path, monkeypatch)
    order = [(True, False), (False, False), (True, True), (False, True)]
    assert found == [way for way in order if way in found]
    assert {(True, False), (False, True)} < set(found)


@pytest.mark.parametrize(
    "overrides",
    [
        {"training.token_budget": 2048},
        {"training.layout": "padded"},
        {"trainer.strategy": "ddp", "trainer.devices": 2, "processes": "separate"},
    ],
)
def test_a_first_micro_batch_is_longer_only_where_nobody_said_and_gradients_are_apart(
    tiny: PreTrainedModel,
    situation: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: dict[str, Any],
) -> None:
    unsaid = {"training.token_budget": None}
    monkeypatch.setattr(cost, "ahead", lambda shape, settings, attended: 24)  # of so small a model it is 0
    made = chosen_for(tiny, situation(unsaid), tmp_path, monkeypatch, GIB)
    assert (made.token_budget, made.ahead) == (2048, 24)
    assert made.reasons[-1] == "a step's first micro-batch up to 2072 tokens: there are no gradients yet"
    less = (chosen_for(tiny, situation(unsaid), tmp_path, monkeypatch, int(GIB * 0.9**k)) for k in range(110))
    tight = next(made for made in less if not made.keep_weights)
    for other in (
        tight,
        chosen_for(tiny, situation({**unsaid, **overrides}), tmp_path, monkeypatch, GIB - 1),
    ):
        assert other.ahead == 0
        assert not any("first micro-batch" in reason for reason in other.reasons)


def test_attention_keeps_its_weights_where_they_fit(
    tiny: PreTrainedModel, situation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last of all, and in packed rows alone, on a CPU."""
    monkeypatch.setattr(cost, "CHUNK_ELEMENTS", 100)
    sizes = [int(GIB * 0.9**k) for k in range(110)]
    found = [chosen_for(tiny, situation(), tmp_path, monkeypatch, size) for size in sizes]
    kept = [made for made in found if made.keep_weights]
    assert found[: len(kept)] == kept
    assert all(made.keep_logits and not made.checkpointing for made in kept)
    assert found[len(kept)].keep_logits
    assert any(r.startswith("attention's weights kept: 0.00 GiB fit into the ") for r in kept[0].reasons)
    assert any(r.startswith("attention's weights computed twice: ") for r in found[len(kept)].reasons)
    padded = situation({"training.layout": "padded"})
    assert not chosen_for(tiny, padded, tmp_path, monkeypatch, 2 * GIB).keep_weights
    on_gpu = replace(situation(), device=torch.device("cuda"))
    batcher = Batcher(PAIRS, 0, Layout.SHARED, 2048)
    assert not fitting._weights(tiny, on_gpu, batcher, fitting._fit(tiny, situation(), batcher), [])


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ({"training.logits": "kept"}, {(True, False), (True, True)}),
        ({"training.checkpointing": "never"}, {(True, False), (False, False)}),
        ({"training.logits": "chunked", "training.checkpointing": "always"}, {(False, True)}),
    ],
)
def test_what_was_asked_for_is_done_whatever_the_memory(
    tiny: PreTrainedModel,
    situation: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overrides: dict[str, Any],
    found: set[tuple[bool, bool]],
) -> None:
    asked = situation({"training.layout": "padded", "training.token_budget": 10_000, **overrides})
    assert set(ways(tiny, asked, tmp_path, monkeypatch)) == found


def test_the_reason_is_logged_and_what_does_not_fit_is_warned_of(
    tiny: PreTrainedModel,
    situation: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "lidr.training"):
        chosen_for(tiny, situation(), tmp_path, monkeypatch, 10 * GIB)
        assert "logits kept, no checkpointing: " in caplog.text
        assert not any(record.levelno >= logging.WARNING for record in caplog.records)
        chosen_for(tiny, situation(), tmp_path, monkeypatch, 0)
    (warning,) = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert warning.startswith("logits chunked, with checkpointing: ")
    assert warning.endswith("lower training.token_budget=160")


@pytest.mark.parametrize(
    ("layout", "budget", "divided", "largest"),
    [
        (Layout.PADDED, 88, [[5], [3, 1], [2, 4], [0]], (88, 39)),
        (Layout.PACKED, 84, [[3, 4], [1, 2, 0], [5]], (80, 41)),
        (Layout.SHARED, 45, [[2, 0], [5], [4, 1], [3]], (40, 34)),
    ],
)
def test_the_largest_micro_batch_counts(
    situation: Any, layout: Layout, budget: int, divided: list[list[int]], largest: tuple[int, int]
) -> None:
    """Most tokens, and most predicted ones. A pair of (prompt, chosen, rejected) tokens takes in a forward pass

             (5, 7, 4)  (12, 1, 6)  (3, 14, 9)  (17, 5, 1)  (8, 8, 8)  (2, 3, 21)
    padded          24          36          34          44         32          46
    packed          19          29          27          38         30          26
    shared          14          17          24          21         22          24
    """
    batcher = Batcher(PAIRS, 0, layout, budget)
    assert batcher.divide(range(len(PAIRS))) == divided
    assert fitting._largest(situation(), batcher) == largest
