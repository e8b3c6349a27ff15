"""lidr's generation against plain `model.generate` in fixed batches, and against vLLM: SmolLM2, greedy.

    make bench-generate
    python -m experiments.bench.generate --rounds 1 --requests 8 --precision bf16
    python -m experiments.bench.generate --contestants lidr lidr:engine.batch_size=32 generate-16
    python -m experiments.bench.generate --scan       # which fixed batch size is fastest for plain generate

A round draws prompts from its seed; every contestant answers exactly these, and translates exactly the same
stored answers, in a process of its own, in an order that rotates from round to round. The stored answers are
made once, by plain `generate`, and kept. The clock runs from the first request of a workload to its last
completion: tokenising inside; imports, loading and a warm-up of two short requests outside. Tokens count up
to the end of turn or the closing tag. All contestants have the same prompts, stop criteria, penalties,
precision and number of threads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np

from experiments.bench import generate_cases as cases
from experiments.bench import generate_contestants as c
from experiments.bench import generate_table as table
from experiments.bench.contestants import RunFailed
from experiments.bench.generate_spec import GenerateSpec, Measured, Workload, read_measured
from experiments.bench.train import say, tell
from lidr.compose import compose_run
from lidr.engines.base import Completion
from lidr.errors import LidrError
from lidr.models import load_tokenizer

PRECISIONS = ("bf16", "fp32")
ROUNDS: Mapping[str, int] = {"bf16": 3, "fp32": 1}
REQUESTS, SCAN_REQUESTS, MAX_NEW_TOKENS, THREADS = 64, 64, 512, 2
STORED_BATCH, STORED_SEED = 32, 1_000_000
ALIKE = 0.99
OUTPUTS = Path("outputs") / "bench-generate"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 where a run failed or tokens were counted differently."""
    args = arguments().parse_args(argv)
    started = time.perf_counter()
    try:
        bench = Bench(args)
    except LidrError as error:
        raise SystemExit(str(error)) from None
    say(f"{bench.source.described}; {args.threads} threads; up to {args.max_new_tokens} new tokens")
    for precision in args.precision:
        bench.precision(precision)
    tell(f"{(time.perf_counter() - started) / 60:.0f} minutes")
    for line in bench.lines():
        say(line)
    return 1 if bench.problems else 0


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench-generate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=None, help=f"of every contestant; else {dict(ROUNDS)}")
    parser.add_argument(
        "--requests", type=int, default=None, help="of a round: answers, and as many translations"
    )
    parser.add_argument(
        "--contestants", nargs="+", default=None, help="lidr[:...], vllm[:...], generate-<batch>"
    )
    parser.add_argument("--max-new-tokens", type=int, default=MAX_NEW_TOKENS, help="of an answer, at most")
    parser.add_argument("--threads", type=int, default=THREADS, help="of every process")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--scan", action="store_true", help="fixed batch sizes against each other")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next ones count up")
    parser.add_argument("--prompts", type=Path, default=None, help="folder that holds alpagasus/")
    parser.add_argument("--out", type=Path, default=OUTPUTS, help="folder for results and runs")
    return parser


class Bench:
    """All rounds in all precisions, and what went wrong in them."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, args.out.resolve()
        self.requests: int = args.requests or (SCAN_REQUESTS if args.scan else REQUESTS)
        self.config = compose_run(self._overrides(PRECISIONS[0]))
        root = args.prompts or cases.official_root()
        self.source = cases.source(self.config, root, load_tokenizer(self.config.model.path))
        self.results: dict[str, list[dict[str, Measured]]] = {}
        self.problems: list[str] = []
        self.skipped: list[str] = []

    def precision(self, precision: str) -> None:
        """The rounds in a precision."""
        contestants = self._contestants(precision)
        count = self.args.rounds or (1 if self.args.scan else ROUNDS[precision])
        self.results[precision] = []
        for number in range(count):
            workloads = self._draw(self.args.seed + number)
            active = [one for one in contestants if one.rounds is None or number < one.rounds]
            shift = number % len(active)
            measured = self._round(precision, number, count, workloads, active[shift:] + active[:shift])
            in_order = {one.name: measured[one.name] for one in active if one.name in measured}
            self.results[precision].append(in_order)
            self.write()
        self._count_alike(precision)
        self.write()

    def _contestants(self, precision: str) -> list[c.Contestant]:
        if self.args.contestants:
            chosen = [c.parse(text) for text in self.args.contestants]
        elif self.args.scan:
            chosen = [c.parse(f"{c.GENERATE}{size}") for size in c.BATCHES]
        else:
            chosen = c.defaults(precision)
        if any(c.is_vllm(one.name) for one in chosen) and not c.vllm_is_there():
            line = f"vllm: skipped, there is no vLLM in {c.VLLM_PYTHON.parents[1]} (make vllm-cpu)"
            if line not in self.skipped:
                self.skipped.append(line)
                tell(line)
            chosen = [one for one in chosen if not c.is_vllm(one.name)]
        return chosen

    def _overrides(self, precision: str, own: Sequence[str] = ()) -> list[str]:
        return cases.overrides(precision, self.args.max_new_tokens, self.args.threads, own)

    def _draw(self, seed: int) -> list[Workload]:
        rng = np.random.default_rng(seed)
        return [
            cases.answers(self.config, self.source.prompts, self.requests, rng),
            cases.translations(self.config, self._stored(), self.requests, rng),
        ]

    def _stored(self) -> list[Completion]:
        """The answers that are translated, as many as a round has: made once, in bf16, by plain `generate`."""
        rng, overrides = (
            np.random.default_rng(STORED_SEED),
            cases.overrides("bf16", MAX_NEW_TOKENS, self.args.threads),
        )
        workload = cases.answers(compose_run(overrides), self.source.prompts, self.requests, rng)
        key = hashlib.sha256(repr(workload).encode()).hexdigest()[:12]
        folder = self.out / f"stored-{key}"
        if (folder / "measured.json").is_file():
            return read_measured(folder / "measured.json").timed[workload.name].completions
        tell(f"stored answers: {len(workload.requests)} to make, once")
        spec = GenerateSpec(overrides, STORED_BATCH, self.args.threads, [workload])
        try:
            return (
                c.execute(spec, c.parse(f"{c.GENERATE}{STORED_BATCH}"), folder)
                .timed[workload.name]
                .completions
            )
        except RunFailed as error:
            raise SystemExit(f"the stored answers could not be made: {error}") from None

    def _round(
        self,
        precision: str,
        number: int,
        count: int,
        workloads: list[Workload],
        contestants: Sequence[c.Contestant],
    ) -> dict[str, Measured]:
        measured: dict[str, Measured] = {}
        for contestant in contestants:
            label = f"{precision} round {number + 1}/{count} {contestant.name}"
            started = time.perf_counter()
            spec = GenerateSpec(
                self._overrides(precision, contestant.overrides),
                contestant.batch,
                self.args.threads,
                workloads,
            )
            folder = self.out / "runs" / precision / str(number) / contestant.name.replace("/", "_")
            try:
                found = measured[contestant.name] = c.execute(spec, contestant, folder)
            except RunFailed as error:
                self._problem(f"{label} failed: {error}")
                continue
            rates = ", ".join(f"{name} {table.speed([t]):.1f}" for name, t in found.timed.items())
            tell(f"{label}: tok/s {rates}; {time.perf_counter() - started:.0f} s in all")
        return measured

    def _count_alike(self, precision: str) -> None:
        """The same text must have been counted as the same number of tokens."""
        rounds = self.results[precision]
        if c.LIDR not in table.names(rounds):
            return
        for theirs in table.names(rounds):
            for workload in cases.WORKLOADS:
                a = table.agreement(rounds, c.LIDR, theirs, workload)
                if a.counted_alike < ALIKE * a.same:
                    self._problem(
                        f"{precision} {theirs} {workload}: of {a.same} equal answers"
                        f" {a.counted_alike} have as many tokens as lidr's"
                    )

    def _problem(self, text: str) -> None:
        self.problems.append(text)
        tell(text)

    def lines(self) -> list[str]:
        """Everything for standard output; the last line is the headline."""
        lines: list[str] = []
        for precision, rounds in self.results.items():
            lines += [*table.case_table(precision, rounds), ""]
        lines += [*self.skipped, *(f"PROBLEM {text}" for text in self.problems)]
        return [*lines, table.last_line(self.results)]

    def write(self) -> None:
        """Everything that was measured."""
        values = {
            "version": version("lidr"),
            "prompts": self.source.described,
            "requests": self.requests,
            "threads": self.args.threads,
            "max_new_tokens": self.args.max_new_tokens,
            "seed": self.args.seed,
            "problems": self.problems,
            "skipped": self.skipped,
            "precisions": {
                name: [{who: asdict(m) for who, m in measured.items()} for measured in rounds]
                for name, rounds in self.results.items()
            },
            "lines": self.lines(),
        }
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(values, ensure_ascii=False, indent=1)
        (self.out / "results.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
