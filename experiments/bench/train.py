"""lidr's DPO training against TRL's DPOTrainer: the same model, pairs, precision, objective and batch.

    make bench-train
    python -m experiments.bench.train --rounds 1 --cases lab-fp32
    python -m experiments.bench.train --cases smollm2-bf16 --contestants trl-tuned lidr lidr:training.max_length=512
    python -m experiments.bench.train --scan      # which per-device batch is fastest for tuned TRL

A round draws pairs from its seed; every contestant trains on exactly these, in a process of its own, in an
order that rotates from round to round. A process first makes one optimizer step on four short pairs: it warms
up, and its losses must agree between the trainers. The clock then runs from the start of the first measured
step to the end of the last; loading of models, tokenising and TRL's tuned reference are outside, the loading
of batches between steps is inside. Two numbers for lidr: without its reference pass, and with it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from experiments.bench import table
from experiments.bench.agreement import disagreements, expected_nll
from experiments.bench.cases import CASES, Case, Drawn, lidr_overrides, with_seed
from experiments.bench.contestants import Contestant, RunFailed, execute, parse
from experiments.bench.spec import FirstStep, Measured, RunSpec, Setting

DEFAULT_CASES = ("smollm2-bf16", "smollm2-fp32", "lab-bf16", "lab-fp32")
DEFAULT_CONTESTANTS = ("trl-default", "trl-tuned", "lidr")
SCAN_CASES = ("smollm2-bf16", "smollm2-fp32")
SCAN_CONTESTANTS = tuple(f"trl-tuned:per_device={n}" for n in (1, 2, 4))
VERSIONS = ("lidr", "torch", "transformers", "trl", "pytorch-lightning")
OUTPUTS = Path("outputs") / "bench-train"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 where a run failed or losses disagree."""
    args = arguments().parse_args(argv)
    names = args.cases or (SCAN_CASES if args.scan else DEFAULT_CASES)
    contestants = [
        parse(c) for c in args.contestants or (SCAN_CONTESTANTS if args.scan else DEFAULT_CONTESTANTS)
    ]
    bench = Bench(args.out.resolve(), contestants, args.rounds, args.steps, args.seed)
    for name in names:
        bench.case(CASES[name])
    bench.write()
    for line in bench.lines():
        say(line)
    return 1 if bench.problems else 0


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench-train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds")
    parser.add_argument("--steps", type=int, default=None, help="measured optimizer steps of a run")
    parser.add_argument("--cases", type=_cases, default=None, help=f"with commas: {','.join(CASES)}")
    parser.add_argument("--contestants", nargs="+", default=None, help="; ".join(DEFAULT_CONTESTANTS))
    parser.add_argument("--scan", action="store_true", help="TRL's per-device batches against each other")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next ones count up")
    parser.add_argument("--out", type=Path, default=OUTPUTS, help="folder for results and runs")
    return parser


def _cases(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in CASES]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: cases are {', '.join(CASES)}")
    return names


class Bench:
    """All rounds of all cases, and what went wrong in them."""

    def __init__(
        self, out: Path, contestants: list[Contestant], rounds: int, steps: int | None, seed: int
    ) -> None:
        self.out, self.contestants = out, contestants
        self.rounds, self.steps, self.seed = rounds, steps, seed
        self.results: dict[str, list[dict[str, Measured]]] = {}
        self.problems: list[str] = []
        self.checks: dict[str, list[str]] = {}

    def case(self, case: Case) -> None:
        """The rounds of a case."""
        setting = case.setting(self.out)
        self.results[case.name] = []
        for number in range(self.rounds):
            folder = self.out / "runs" / case.name / str(number)
            shutil.rmtree(folder, ignore_errors=True)
            seed = self.seed + number
            drawn = case.draw(self.steps or case.steps, seed, setting, folder)
            self.results[case.name].append(self._round(case, with_seed(setting, seed), drawn, folder))
            self._agree(case, setting, drawn, number)
            self.write()

    def _round(self, case: Case, setting: Setting, drawn: Drawn, folder: Path) -> dict[str, Measured]:
        number = int(folder.name)
        shift = number % len(self.contestants)
        measured: dict[str, Measured] = {}
        for contestant in self.contestants[shift:] + self.contestants[:shift]:
            label = f"{case.name} round {number + 1}/{self.rounds} {contestant.name}"
            started = time.perf_counter()
            spec = run_spec(case, contestant, setting, drawn, folder)
            try:
                found = measured[contestant.name] = execute(spec, contestant.is_lidr)
            except RunFailed as error:
                self._problem(f"{label} failed: {error}")
                continue
            finally:
                for model in Path(spec.folder).glob("*-model"):
                    shutil.rmtree(model)
            took = time.perf_counter() - started
            tell(f"{label}: {found.seconds / len(found.step_seconds):.2f} s/step, {took:.0f} s in all")
        return {c.name: measured[c.name] for c in self.contestants if c.name in measured}

    def _agree(self, case: Case, setting: Setting, drawn: Drawn, number: int) -> None:
        """Compares every TRL run of the last round with its first lidr run."""
        measured = self.results[case.name][-1]
        ours = next((measured[c.name] for c in self.contestants if c.is_lidr and c.name in measured), None)
        if ours is None or ours.check is None:
            return
        for contestant in self.contestants:
            theirs = measured.get(contestant.name)
            if contestant.is_lidr or theirs is None or theirs.check is None:
                continue
            batch = min(per_device(case, contestant), len(drawn.check_chosen))
            check, chosen = ours.check, drawn.check_chosen
            nll = expected_nll(check.nll_by_language, chosen, drawn.check_longest, batch)
            total = check.dpo + setting.alpha * nll
            one_batch = batch == len(chosen)
            found = disagreements(check, theirs.check, total, case.precision, one_batch=one_batch)
            if theirs.tokens != ours.tokens:
                found.append(f"measured tokens: TRL {theirs.tokens}, lidr {ours.tokens}")
            label = f"{case.name} round {number + 1} {contestant.name}"
            for text in found:
                self._problem(f"{label}: losses disagree: {text}")
            if number == 0:
                self._show(case, contestant, check, theirs.check, total)

    def _show(self, case: Case, c: Contestant, ours: FirstStep, theirs: FirstStep, total: float) -> None:
        self.checks.setdefault(case.name, []).append(
            f"  first step, {c.name} | lidr: DPO {theirs.dpo:.5f} | {ours.dpo:.5f}"
            f"  NLL {theirs.nll:.4f} | {ours.nll:.4f}  total {theirs.total:.4f} | {total:.4f}"
            f"  gradient {theirs.grad_norm:.3f} | {ours.grad_norm:.3f}  tokens {theirs.tokens} | {ours.tokens}"
        )

    def _problem(self, text: str) -> None:
        self.problems.append(text)
        tell(text)

    def lines(self) -> list[str]:
        """Everything for standard output; the last line is the headline."""
        lines: list[str] = []
        for name, rounds in self.results.items():
            lines += [*table.case_table(name, rounds), *self.checks.get(name, []), ""]
        lines += [f"PROBLEM {text}" for text in self.problems]
        return [*lines, table.last_line(self.results)]

    def write(self) -> None:
        """Everything that was measured."""
        values = {
            "versions": {name: version(name) for name in VERSIONS},
            "rounds": self.rounds,
            "seed": self.seed,
            "problems": self.problems,
            "cases": {
                name: [{c: asdict(m) for c, m in measured.items()} for measured in rounds]
                for name, rounds in self.results.items()
            },
            "lines": self.lines(),
        }
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "results.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def per_device(case: Case, contestant: Contestant) -> int:
    """TRL's pairs a forward pass; its defaults take the whole step at once."""
    if contestant.defaults:
        return case.pairs_per_step
    return contestant.per_device or case.tuned_per_device


def run_spec(case: Case, contestant: Contestant, setting: Setting, drawn: Drawn, folder: Path) -> RunSpec:
    """What a contestant's process is told."""
    return RunSpec(
        setting=setting,
        pairs=str(drawn.pairs),
        folder=str(folder / contestant.name.replace("/", "_")),
        check=str(drawn.check),
        check_tokens=sum(drawn.check_chosen.values()),
        defaults=contestant.defaults,
        per_device=per_device(case, contestant),
        overrides=lidr_overrides(case.groups, setting, list(contestant.overrides)),
    )


def say(line: str) -> None:
    """To standard output."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tell(line: str) -> None:
    """Progress, to standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
