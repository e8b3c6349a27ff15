"""lidr against tuned TRL on one GPU: the Llama-3-8B shape with random weights, pairs as long as the paper's.

    make bench-train-gpu
    python -m experiments.bench.gpu --out FOLDER
    python -m experiments.bench.gpu --out FOLDER --shape tiny --device cpu     # does it run?

LoRA trains all 32 layers. Full training keeps fp32 weights and optimizer states, 16 bytes a parameter, which
for 8B fits no single GPU: it has --full-layers of the same width, and the speed of 32 layers follows from the
fraction of peak, as counted operations. A configuration is lora or full, a colon, and lidr or trl; overrides of
lidr's configuration follow with plus signs: lora:lidr+training.compile=true. Every run is a process; its first
--warmup optimizer steps (compilation, caches) are not counted. A run's line is printed when it is done; what
there is no time left for is named. Ratios are of a configuration's median over that of TRL.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from experiments.bench import pairs as p
from experiments.bench.cases import lidr_overrides
from experiments.bench.contestants import ROOT, RunFailed, execute
from experiments.bench.gpu_model import SHAPES, TEMPLATE_TOKENS, words
from experiments.bench.scale import RANK
from experiments.bench.spec import Measured, RunSpec, Setting
from lidr.training.shapes import ModelShape, Settings, Work, causal, flops

GROUPS = ("model=llama3_8b", "model.system_prompt=null", "languages=en_es_ru_de_fr")
KINDS, SIDES = ("lora", "full"), ("lidr", "trl")
CONFIGS = tuple(f"{kind}:{side}" for kind in KINDS for side in SIDES)
TRL_PER_DEVICE = (4, 2, 1)  # the largest that fits is taken
LEAST_SECONDS = 90.0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the configurations; 1 where one failed."""
    args = arguments().parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device: type --device cpu --shape tiny to try the bench out")
    args.out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="bench-gpu-", dir=args.work))
    try:
        return GpuBench(args, work).run()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench-train-gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json and failed outputs")
    parser.add_argument(
        "--work", type=Path, default=None, help="folder for weights, about 30 GB; default: /tmp"
    )
    parser.add_argument("--configs", default=",".join(CONFIGS), help="with commas, in this order")
    parser.add_argument("--rounds", type=int, default=1, help="passes over the configurations")
    parser.add_argument("--shape", choices=SHAPES, default="llama3-8b")
    parser.add_argument("--full-layers", type=int, default=8, help="layers where all parameters train")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--pairs-per-step", type=int, default=16)
    parser.add_argument("--warmup", type=int, default=3, help="optimizer steps not counted")
    parser.add_argument("--steps", type=int, default=6, help="optimizer steps counted")
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--peak", type=float, default=989e12, help="FLOP/s of the device, dense bf16")
    parser.add_argument("--budget", type=float, default=450, help="seconds in all")
    parser.add_argument("--seed", type=int, default=0)
    return parser


@dataclass(frozen=True)
class Drawn:
    """The pairs, and the (prompt, chosen, rejected) lengths of each, in tokens."""

    path: Path
    pairs: list[tuple[int, int, int]]

    def work(self, *, shared: bool) -> Work:
        """What goes through the model: each pair's prompt once, or once for each response."""
        parts: list[Work] = []
        for prompt, *responses in self.pairs:
            if shared:
                parts.append(Work.of_pair(prompt, *responses))
            else:
                parts += [Work(prompt + n, n, causal(prompt + n)) for n in responses]
        return Work(*(sum(column) for column in zip(*map(astuple, parts), strict=True)))


class GpuBench:
    """One pass over the configurations, within the time given."""

    def __init__(self, args: argparse.Namespace, work: Path) -> None:
        self.args, self.work = args, work
        self.ends = time.monotonic() + args.budget
        self.results: list[dict[str, Any]] = []
        self.failed = False

    def run(self) -> int:
        """Every configuration in turn; a failed one does not stop the others."""
        say(f"device: {device_name(self.args.device)}, PyTorch {torch.__version__}")
        for config in self.args.rounds * list(self._wanted()):
            if self.ends - time.monotonic() < LEAST_SECONDS:
                say(f"{config:<20} skipped: no time left of --budget {self.args.budget:.0f}")
                continue
            try:
                self._one(config)
            except (RunFailed, subprocess.SubprocessError) as error:
                self.failed = True
                self.results.append({"config": config, "failed": str(error)})
                say(f"{config:<20} failed: {error}")
            self._write()
        for line in summary(self.results):
            say(line)
        return 1 if self.failed else 0

    def _wanted(self) -> Iterator[str]:
        for config in self.args.configs.split(","):
            kind, side, _ = parts(config)
            if kind not in KINDS or side not in SIDES:
                raise SystemExit(f"{config!r}: configurations are {', '.join(CONFIGS)}")
            if side == "trl" and importlib.util.find_spec("trl") is None:
                say(f"{config:<20} left out: TRL is not installed here")
            else:
                yield config

    def _one(self, config: str) -> None:
        kind, side, own = parts(config)
        shape = SHAPES[self.args.shape]
        if kind == "full":
            shape = replace(shape, layers=min(shape.layers, self.args.full_layers))
        drawn = draw(self.args, shape, self.work)
        setting = self._setting(self._model(shape), lora=kind == "lora")
        spec = RunSpec(
            setting=setting,
            pairs=str(drawn.path),
            folder=str(self.work / f"run-{len(self.results)}"),
            overrides=lidr_overrides(GROUPS, setting, own),
        )
        measured, note = self._execute(config, spec, is_lidr=side == "lidr")
        self._report(config, measured, drawn, shape, note)

    def _execute(self, config: str, spec: RunSpec, *, is_lidr: bool) -> tuple[Measured, str]:
        """TRL's batch is halved until it fits."""
        sizes = (1,) if is_lidr else tuple(n for n in TRL_PER_DEVICE if not self.args.pairs_per_step % n)
        for size in sizes:
            try:
                left = max(self.ends - time.monotonic(), LEAST_SECONDS / 2)
                note = "" if is_lidr else f"  {size} pairs a forward pass"
                return execute(replace(spec, per_device=size), is_lidr, timeout=left), note
            except RunFailed as error:
                if size == sizes[-1] or "OutOfMemoryError" not in str(error):
                    raise
                say(f"{config:<20} {size} pairs a forward pass do not fit into memory")
            finally:
                for model in Path(spec.folder).glob("*-model"):
                    shutil.rmtree(model)
        raise RunFailed("no batch fits")

    def _report(self, config: str, measured: Measured, drawn: Drawn, shape: ModelShape, note: str) -> None:
        kind, side, _ = parts(config)
        shared = side == "lidr"
        share = measured.tokens / measured.notes["all_tokens"]
        settings = Settings(bf16=True, lora_rank=RANK if kind == "lora" else 0)
        work = drawn.work(shared=shared)
        done = flops(shape, settings, work, reference=False).total * share
        whole = flops(SHAPES[self.args.shape], settings, work, reference=False).total * share
        speed, fraction = measured.tokens / measured.seconds, done / measured.seconds / self.args.peak
        result = {
            "config": config,
            **asdict(measured),
            "tokens_per_second": speed,
            "fraction_of_peak": fraction,
            "layers": shape.layers,
            "tokens_per_second_of_all_layers": speed * done / whole,
            "device": device_name(self.args.device),
        }
        self.results.append(result)
        say(
            f"{config:<20} {speed:9,.0f} tokens/s  {fraction:6.1%} of peak  {measured.peak_bytes / 2**30:6.1f} GiB"
            f"  {measured.seconds / len(measured.step_seconds):6.2f} s/step"
            f" ({min(measured.step_seconds):.2f} to {max(measured.step_seconds):.2f})"
            f"  reference {measured.reference_seconds:.1f} s"
            f"  first loss {measured.notes['first']:.3f}  {measured.notes['all_tokens']} tokens in all"
            f"  {shape.layers} layers"
            + (f": {speed * done / whole:,.0f} tokens/s of all" if done < whole else "")
            + note
        )

    def _setting(self, model: Path, *, lora: bool) -> Setting:
        return Setting(
            model=str(model),
            precision="bf16",
            pairs_per_step=self.args.pairs_per_step,
            max_length=self.args.max_length,
            device=self.args.device,
            threads=8 if self.args.device == "cuda" else 2,
            warmup=self.args.warmup,
            lora=lora,
            seed=self.args.seed,
        )

    def _model(self, shape: ModelShape) -> Path:
        """The folder of a shape, made in a process of its own so that its memory comes back."""
        folder = self.work / f"model-{shape.layers}"
        if not (folder / "tokenizer.json").is_file():
            command = [sys.executable, "-m", "experiments.bench.gpu_model", str(folder)]
            numbers = json.dumps(asdict(shape))
            started = time.monotonic()
            subprocess.run([*command, numbers, self.args.device], cwd=ROOT, check=True)
            say(f"weights of {shape.layers} layers made in {time.monotonic() - started:.0f} s")
        return folder

    def _write(self) -> None:
        text = json.dumps(self.results, indent=1) + "\n"
        (self.args.out / "results.json").write_text(text, encoding="utf-8")


def draw(args: argparse.Namespace, shape: ModelShape, folder: Path) -> Drawn:
    """The pairs of all steps, from one seed: the same for every configuration."""
    rng = np.random.default_rng(args.seed)
    count = (args.warmup + args.steps) * args.pairs_per_step
    lengths = p.draw_lengths(count, rng, p.LLAMA3_CHARACTERS_PER_TOKEN)
    path = p.write(folder / "pairs.jsonl", p.paper_like(p.Numbered(words(shape)), lengths, rng))
    cut = []
    for pair in lengths:
        prompt = pair.prompt + TEMPLATE_TOKENS
        chosen, rejected = (min(n + 1, args.max_length - prompt) for n in (pair.chosen, pair.rejected))
        cut.append((prompt, chosen, rejected))
    return Drawn(path, cut)


def parts(config: str) -> tuple[str, str, list[str]]:
    """The kind of training, the side, and overrides of a configuration's name."""
    kind, _, rest = config.partition(":")
    side, *own = rest.split("+")
    return kind, side, own


def summary(results: Sequence[dict[str, Any]]) -> list[str]:
    """Ratios of tokens per second over TRL's, lowest to highest over its runs; last the goals, in medians."""
    speeds: dict[str, list[float]] = {}
    whole: dict[str, list[float]] = {}
    for result in results:
        if "failed" not in result:
            speeds.setdefault(result["config"], []).append(result["tokens_per_second"])
            of_all = result["tokens_per_second_of_all_layers"]
            whole.setdefault(result["config"], []).append(of_all)
    lines, goals = [], []
    for config, ours in speeds.items():
        kind, side, own = parts(config)
        theirs = speeds.get(f"{kind}:trl", [])
        ratio = "-"
        if side == "lidr" and theirs:
            ratio = f"{median(ours) / median(theirs):.2f}"
            spread = f"{min(ours) / max(theirs):.2f} to {max(ours) / min(theirs):.2f}"
            lines.append(f"{config:<20} {ratio} times the tokens per second of tuned TRL, {spread}")
        if side == "lidr" and not own:
            goals.append(f"{kind}={median(whole[config]):.0f} {kind}-over-trl={ratio}")
    return [*lines, "bench-train-gpu: " + " ".join(goals)]


def device_name(device: str) -> str:
    """For the report."""
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


def say(line: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
