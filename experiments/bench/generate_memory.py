"""Does memory grow with the number of requests? Simulated with a tiny random model behind lidr's engine.

    python -m experiments.bench.generate_memory
    python -m experiments.bench.generate_memory --counts 1000 10000

The requests come from a generator, 4 new tokens each; every count is a process of its own. Growth is the
largest resident size seen between completions, above that after loading and a warm-up. `read ahead` is the
largest number of requests that were read and not yet answered.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from experiments.bench.contestants import ROOT, environment
from experiments.bench.gpu_model import SHAPES, build, words
from experiments.bench.train import say
from lidr.compose import compose_run
from lidr.engines.base import Engine, Request
from lidr.engines.load import load_engine

COUNTS = (1_000, 10_000, 100_000)
WARM_UP, MAX_NEW_TOKENS, THREADS = 2048, 4, 1
SHORTEST, LONGEST = 3, 40
ALLOWED = 32 * 2**20
MIB = 2**20
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Growth:
    """What streaming `requests` requests took; sizes in bytes, see the module."""

    requests: int
    baseline: int
    growth: int
    read_ahead: int
    seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line a count; 1 where the most requests took more than 32 MiB above the fewest."""
    parser = argparse.ArgumentParser(
        prog="generate_memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "COUNT"), default=None, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        say(json.dumps(asdict(measure(load(Path(args.one[0])), int(args.one[1])))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), SHAPES["tiny"], "cpu")
        found = [_process(Path(folder), count) for count in sorted(args.counts)]
    for line in lines(found):
        say(line)
    return 1 if found[-1].growth - found[0].growth > ALLOWED else 0


def load(model: Path) -> Engine:
    """lidr's engine with its defaults around a model folder."""
    config = compose_run(["model=lab", f"model.path='{model}'", f"trainer.threads={THREADS}"])
    return load_engine(config, config.model.path, 0, model / "ledger")


def measure(engine: Engine, count: int) -> Growth:
    """Streams `count` requests after a warm-up.

    Raises:
        SystemExit: not every request was answered.
    """
    sampling = replace(compose_run(["model=lab"]).engine.sampling, max_new_tokens=MAX_NEW_TOKENS)
    for _ in engine.stream(Counted(WARM_UP, seed=1), sampling):
        pass
    baseline, started, requests = resident(), time.perf_counter(), Counted(count)
    answered = peak = ahead = 0
    for completions in engine.stream(requests, sampling):
        answered += len(completions)
        ahead = max(ahead, requests.read - answered)
        peak = max(peak, resident())
    if answered != count:
        raise SystemExit(f"{answered} of {count} requests answered")
    return Growth(count, baseline, peak - baseline, ahead, time.perf_counter() - started)


class Counted:
    """Requests made as they are read, of 3 to 40 tokens; `read` says how many have been."""

    def __init__(self, count: int, seed: int = 0) -> None:
        self.count, self.seed, self.read = count, seed, 0

    def __iter__(self) -> Iterator[Request]:
        rng, vocabulary = np.random.default_rng(self.seed), words(SHAPES["tiny"])
        for number in range(self.count):
            self.read += 1
            length = int(rng.integers(SHORTEST, LONGEST + 1))
            yield Request(str(number), " ".join(f"w{i}" for i in rng.integers(vocabulary, size=length)))


def resident() -> int:
    """Resident size of this process in bytes; where the system does not tell, the largest so far."""
    if _STATM.is_file():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def lines(found: Sequence[Growth]) -> list[str]:
    """A table; the last line is for machines."""
    table = [
        f"{g.requests:>8}  {g.baseline / MIB:12.1f}  {g.growth / MIB:10.1f}  {g.read_ahead:10d}  {g.seconds:8.1f}"
        for g in found
    ]
    last = " ".join(f"{g.requests}={g.growth / MIB:.1f}" for g in found)
    return [
        "requests  baseline MiB  growth MiB  read ahead   seconds",
        *table,
        f"bench-generate-memory: {last}",
    ]


def _process(model: Path, count: int) -> Growth:
    command = [sys.executable, "-m", "experiments.bench.generate_memory", "--one", str(model), str(count)]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(THREADS), stdout=subprocess.PIPE, text=True, check=False
    )
    if ended.returncode != 0:
        raise SystemExit(f"{count} requests: the process ended with code {ended.returncode}")
    return Growth(**json.loads(ended.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.exit(main())
