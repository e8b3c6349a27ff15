"""Memory and time of one iteration's training of Llama-3 8B and 70B on 1 to 64 GPUs, from counted operations.

    python experiments/bench/scale.py                          prints the tables of docs/scale.md
    python experiments/bench/scale.py --write docs/scale.md    puts them there
    python experiments/bench/scale.py --fraction 0.35          with a measured fraction of peak

Of one GPU the fraction of peak is measured (docs/training.md: 50 % with LoRA, 52 % with all parameters); that several
reach as much, or 40 %, and the bandwidth between them, are assumptions.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lidr.config import Logits
from lidr.training.cost import Choice, activations, choose, logits_bytes, memory, state
from lidr.training.shapes import ModelShape, Settings, Work, flops, traffic

MODELS = {  # from the models' config.json
    "8B": ModelShape(32, 4096, 32, 8, 128, 14336, 128256, tied=False),
    "70B": ModelShape(80, 8192, 64, 8, 128, 28672, 128256, tied=False),
}
RANK = 16  # lora=r16
SIZES = (80, 141)  # GB of an H100 and an H200, counted as 10^9 bytes: both have a little more
PEAK = 989e12  # FLOP/s in bf16 without sparsity, H100 SXM and H200 alike (NVIDIA's data sheets)
COUNTS = (1, 8, 64)
PAIRS = 5_000  # 1,000 prompts x (4 nl + 1 en)
PAIR = Work.of_pair(prompt=100, chosen=450, rejected=450)
BATCH = 16  # pairs of an optimizer step, the paper's
BUDGET = 4_096  # tokens of a micro-batch, training.token_budget; the longest pair fills it
START, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
GB = 1e9
_NUMBER = re.compile(r"-|[\d.,]+( s| min)?")


@dataclass(frozen=True)
class Assumed:
    """What a measurement replaces.

    fractions: of the peak, over all counted operations.
    bandwidth: bytes a GPU sends per second in a collective.
    """

    fractions: tuple[float, ...]
    bandwidth: float


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    model: str
    settings: Settings
    gigabytes: int

    @property
    def shape(self) -> ModelShape:
        """Of the model."""
        return MODELS[self.model]

    @property
    def batch(self) -> int:
        """Pairs of an optimizer step: the paper's, or one for each GPU where those are more."""
        return max(BATCH, self.settings.devices)

    @property
    def micro_batches(self) -> int:
        """Of one GPU in a step."""
        return math.ceil(self.batch // self.settings.devices * PAIR.tokens / BUDGET)

    def choice(self) -> Choice:
        """How the largest micro-batch is fitted."""
        return choose(self.shape, self.settings, BUDGET, BUDGET, int(self.gigabytes * GB))

    def compute_seconds(self, choice: Choice, fraction: float) -> float:
        """Of all operations, the reference's included."""
        work = PAIR.times(PAIRS)
        chunked = choice.logits is Logits.CHUNKED
        count = flops(self.shape, self.settings, work, chunked=chunked, checkpointing=choice.checkpointing)
        return count.total / (self.settings.devices * fraction * PEAK)

    def interconnect_seconds(self, bandwidth: float) -> float:
        """Of all collectives; the reference's forward gathers half of what a step does."""
        step = traffic(self.shape, self.settings, self.micro_batches)
        return PAIRS / self.batch * (sum(step) + step.gathered / 2) / bandwidth

    def row(self, assumed: Assumed) -> list[str]:
        """The cells."""
        settings, choice = self.settings, self.choice()
        needed = memory(self.shape, settings, BUDGET, BUDGET, choice.logits, choice.checkpointing).total
        split = "" if settings.devices == 1 else "fsdp" if settings.sharded else "ddp"
        cells = [self.model, _training(settings), str(settings.devices), split, f"{needed / GB:,.0f}"]
        if not choice.fits:
            return [*cells, "", "", *[""] * len(assumed.fractions), "does not fit"]
        limits, times = [], []
        sending = self.interconnect_seconds(assumed.bandwidth)
        for fraction in assumed.fractions:
            computing = self.compute_seconds(choice, fraction)
            times.append(_duration(max(computing, sending)))
            busy = "memory" if choice.checkpointing else "compute"
            limits.append("interconnect" if sending > computing else busy)
        again = "yes" if choice.checkpointing else "no"
        return [*cells, choice.logits, again, *times, ", ".join(dict.fromkeys(limits))]


def _training(settings: Settings) -> str:
    return f"LoRA r{settings.lora_rank}" if settings.lora else "full"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.{1 if seconds < 600 else 0}f} min"


def _cases() -> list[tuple[str, Settings]]:
    return [
        (model, Settings(fused=True, bf16=True, lora_rank=rank, devices=count, sharded=sharded))
        for model in MODELS
        for rank in (0, RANK)
        for count in COUNTS
        for sharded in ((False, True) if count > 1 else (False,))
    ]


def _counted() -> str:
    names = ["state", "bf16 copies", "activations", "with checkpointing", "kept logits"]
    header = ["model", "training", "trained (10^9)", *(f"{name} (GB)" for name in names), "TFLOP a pair"]
    settings = (Settings(fused=True, bf16=True), Settings(fused=True, bf16=True, lora_rank=RANK))
    return _table(header, [_counted_row(model, how) for model in MODELS for how in settings])


def _counted_row(model: str, settings: Settings) -> list[str]:
    shape = MODELS[model]
    trained = settings.adapter(shape) if settings.lora else shape.parameters
    held = state(shape, settings)
    kept, again = (activations(shape, settings, BUDGET, BUDGET, c).total for c in (False, True))
    sizes = (
        held.total - held.copies,
        held.copies,
        kept,
        again,
        logits_bytes(shape, settings, BUDGET, Logits.KEPT),
    )
    work = flops(shape, settings, PAIR, reference=False).total
    billions = f"{trained / 1e9:.{2 if trained >= 1e9 else 3}f}"
    return [model, _training(settings), billions, *(f"{s / GB:,.1f}" for s in sizes), f"{work / 1e12:,.0f}"]


def _fitted(assumed: Assumed) -> str:
    times = [f"time at {100 * fraction:g} %" for fraction in assumed.fractions]
    rows = []
    for model, settings in _cases():
        by_size = {size: Case(model, settings, size).row(assumed) for size in SIZES}
        alike: dict[tuple[str, ...], list[str]] = {}
        for size, row in by_size.items():
            alike.setdefault(tuple(row), []).append(str(size))
        rows += [[*row[:4], ", ".join(sizes), *row[4:]] for row, sizes in alike.items()]
    header = ["model", "training", "GPUs", "split", "GB of a GPU", "GB needed", "logits", "checkpointing"]
    return _table([*header, *times, "limited by"], rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; columns of numbers to the right, an empty cell as a dash."""
    filled = [[cell or "-" for cell in row] for row in rows]
    numbers = [all(map(_NUMBER.fullmatch, column)) for column in zip(*filled, strict=True)]
    rule = ["---:" if number else "---" for number in numbers]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *filled))


def tables(assumed: Assumed) -> str:
    """All tables, as Markdown."""
    return (
        f"What a GPU holds before anything is divided, with a micro-batch of {BUDGET:,} tokens, and the operations"
        f" of a pair:\n\n{_counted()}\n"
        f"Training of one iteration, {PAIRS:,} pairs, at most {assumed.bandwidth / GB:.0f} GB/s between GPUs:\n\n"
        f"{_fitted(assumed)}"
    )


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0 and at most 1")
    return value


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fraction", type=_fraction, nargs="+", default=[0.4, 0.5], help="of the peak")
    parser.add_argument("--bandwidth", type=float, default=300, help="GB/s a GPU sends in a collective")
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Prints the tables, or puts them into a page."""
    asked = arguments(words)
    text = tables(Assumed(tuple(asked.fraction), asked.bandwidth * GB))
    if asked.write is None:
        sys.stdout.write(text)
        return
    before, rest = asked.write.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    asked.write.write_text(f"{before}{START}{text}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
