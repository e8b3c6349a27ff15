"""Which operators the time of a benchmark's run goes to, by PyTorch's profiler.

    python -m experiments.bench.generate --precision bf16 --rounds 1 --contestants lidr
    python -m experiments.bench.generate_profile outputs/bench-generate/runs/bf16/0/lidr --tokens 128

The requests are those of the run whose folder is named, the answers cut at `--tokens`, since every operator that runs
is kept. A workload is answered twice: once for its time, once under the profiler, whose own time falls on what Python
does between operators.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch.profiler import ProfilerActivity, profile

from experiments.bench.generate_one import load, timed
from experiments.bench.generate_spec import Workload, read_spec
from experiments.bench.train import say
from lidr.engines.base import Engine

TOKENS, LINES = 128, 20


def main(argv: Sequence[str] | None = None) -> int:
    """Profiles each workload of a run."""
    parser = argparse.ArgumentParser(
        prog="bench-generate-profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="folder of a run, with its spec.json")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of an answer, at most")
    parser.add_argument("--lines", type=int, default=LINES, help="operators to list")
    args = parser.parse_args(argv)
    path = args.run / "spec.json"
    if not path.is_file():
        raise SystemExit(f"{path} is not there: python -m experiments.bench.generate writes one a run")
    spec = read_spec(path)
    with TemporaryDirectory() as folder:
        engine = load(spec, Path(folder))
        for workload in spec.workloads:
            short = replace(workload.sampling, max_new_tokens=args.tokens)
            for line in profiled(engine, replace(workload, sampling=short), args.lines):
                say(line)
    return 0


def profiled(engine: Engine, workload: Workload, lines: int) -> list[str]:
    """A heading with both times, and the operators that took longest: seconds, share, calls, microseconds a call."""
    plain = timed(engine, workload)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        slow = timed(engine, workload)
    found: list[Any] = sorted(seen.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in found) / 1e6
    heading = (
        f"{workload.name}: {plain.tokens} tokens in {plain.seconds:.1f} s, in {slow.seconds:.1f} s profiled,"
        f" {total:.1f} s of them in operators"
    )
    return [
        heading,
        f"  {'operator':<45} {'s':>7} {'%':>5} {'calls':>8} {'us':>8}",
        *(_line(event, total) for event in found[:lines]),
    ]


def _line(event: Any, total: float) -> str:
    seconds = event.self_cpu_time_total / 1e6
    return (
        f"  {event.key[:45]:<45} {seconds:7.2f} {100 * seconds / total:5.1f} {event.count:8d}"
        f" {1e6 * seconds / event.count:8.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
