"""What the rounds come to: medians and ratios per round, the table, the last line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from experiments.bench.spec import Measured

Rounds = Sequence[dict[str, Measured]]
HEADLINE = "smollm2-bf16"
DEFAULT, TUNED, LIDR = "trl-default", "trl-tuned", "lidr"
GIB = 2**30


@dataclass(frozen=True)
class Spread:
    """A ratio over rounds."""

    median: float
    low: float
    high: float
    quartiles: tuple[float, float]
    rounds: int

    def __str__(self) -> str:
        q1, q3 = self.quartiles
        whole = f"{self.median:.2f}  ({self.low:.2f}..{self.high:.2f}"
        return whole + (f", quartiles {q1:.2f} {q3:.2f})" if self.rounds > 1 else ")")


def spread(values: Sequence[float]) -> Spread | None:
    """None where no round has the number."""
    if not values:
        return None
    q1, q3 = np.quantile(values, [0.25, 0.75])
    return Spread(median(values), min(values), max(values), (float(q1), float(q3)), len(values))


def speed_ratios(rounds: Rounds, ours: str, peer: str, *, with_reference: bool) -> list[float]:
    """Pairs per second, ours / peer, of every round that has both."""
    ratios = []
    for measured in rounds:
        if ours in measured and peer in measured:
            mine, other = measured[ours], measured[peer]
            seconds = mine.with_reference if with_reference else mine.seconds
            ratios.append((mine.pairs / seconds) / (other.pairs / other.seconds))
    return ratios


def memory_ratios(rounds: Rounds, ours: str, peers: Sequence[str]) -> list[float]:
    """Our peak / the smallest of the peers' peaks, of every round that has them all."""
    return [
        m[ours].peak_bytes / min(m[peer].peak_bytes for peer in peers)
        for m in rounds
        if ours in m and all(peer in m for peer in peers)
    ]


def comparisons(rounds: Rounds, ours: str) -> dict[str, Spread]:
    """Every ratio of a case there are numbers for."""
    values = {
        f"{ours} + reference / {DEFAULT}": speed_ratios(rounds, ours, DEFAULT, with_reference=True),
        f"{ours} / {DEFAULT}": speed_ratios(rounds, ours, DEFAULT, with_reference=False),
        f"{ours} + reference / {TUNED}": speed_ratios(rounds, ours, TUNED, with_reference=True),
        f"{ours} / {TUNED}": speed_ratios(rounds, ours, TUNED, with_reference=False),
        f"memory {ours} / {DEFAULT}": memory_ratios(rounds, ours, [DEFAULT]),
        f"memory {ours} / {TUNED}": memory_ratios(rounds, ours, [TUNED]),
        f"memory {ours} / smaller": memory_ratios(rounds, ours, [DEFAULT, TUNED]),
    }
    if ours != LIDR:
        values[f"{ours} / {LIDR}"] = speed_ratios(rounds, ours, LIDR, with_reference=False)
        values[f"memory {ours} / {LIDR}"] = memory_ratios(rounds, ours, [LIDR])
    return {name: found for name, ratios in values.items() if (found := spread(ratios))}


def case_table(name: str, rounds: Rounds) -> list[str]:
    """The medians of a case's contestants, then its ratios."""
    contestants = list(dict.fromkeys(c for measured in rounds for c in measured))
    width = max([len(c) for c in contestants] + [len(LIDR) + 12])
    lines = [f"{name:<{width}}  pairs/s  tokens/s  s/step  peak GiB  rounds"]
    for contestant in contestants:
        runs = [m[contestant] for m in rounds if contestant in m]
        lines.append(_row(contestant, width, runs, with_reference=False))
        if any(run.reference_seconds for run in runs):
            lines.append(_row(f"{contestant} + reference", width, runs, with_reference=True))
    for ours in (c for c in contestants if c.startswith(LIDR)):
        lines += [f"  {label:<{width + 12}} {value}" for label, value in comparisons(rounds, ours).items()]
    return lines


def _row(label: str, width: int, runs: Sequence[Measured], *, with_reference: bool) -> str:
    seconds = [run.with_reference if with_reference else run.seconds for run in runs]
    pairs = median(run.pairs / s for run, s in zip(runs, seconds, strict=True))
    tokens = median(run.tokens / s for run, s in zip(runs, seconds, strict=True))
    step = median(s / len(run.step_seconds) for run, s in zip(runs, seconds, strict=True))
    peak = median(run.peak_bytes for run in runs) / GIB
    return f"{label:<{width}}  {pairs:7.3f}  {tokens:8.0f}  {step:6.2f}  {peak:8.2f}  {len(runs):6d}"


def last_line(cases: dict[str, list[dict[str, Measured]]]) -> str:
    """The medians of SmolLM2 in bf16: default= with the reference inside both clocks, tuned= outside both.

    memory= is lidr's peak over the smaller of TRL's two.
    """
    rounds = cases.get(HEADLINE, [])
    values = (
        spread(speed_ratios(rounds, LIDR, DEFAULT, with_reference=True)),
        spread(speed_ratios(rounds, LIDR, TUNED, with_reference=False)),
        spread(memory_ratios(rounds, LIDR, [DEFAULT, TUNED])),
    )
    default, tuned, memory = (f"{v.median:.2f}" if v else "n/a" for v in values)
    return f"bench-train: default={default} tuned={tuned} memory={memory}"
