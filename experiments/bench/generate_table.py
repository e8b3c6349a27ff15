"""What the rounds of `make bench-generate` come to: tokens per second, ratios within a round, the last line.

The peer of plain `generate` is, in every round and for every workload, the fastest of the fixed batch sizes
that ran in it. Both workloads together: all tokens by all seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from statistics import median

from experiments.bench.generate_cases import WORKLOADS
from experiments.bench.generate_contestants import GENERATE, LIDR, VLLM, is_generate
from experiments.bench.generate_spec import Measured, Timed
from experiments.bench.table import GIB, spread

Round = Mapping[str, Measured]
HEADLINE = "bf16"
TOGETHER = "together"
FASTEST = "fastest generate"
LABEL = 48


@dataclass(frozen=True)
class Agreement:
    """Requests two contestants both answered; how many with the same text, and of these with as many tokens."""

    requests: int
    same: int
    counted_alike: int


def speed(timed: Sequence[Timed]) -> float:
    """Tokens per second over all of these."""
    return sum(t.tokens for t in timed) / sum(t.seconds for t in timed)


def fastest(measured: Round, workload: str) -> str | None:
    """The fixed batch size that was fastest in a round, by name."""
    names = [name for name in measured if is_generate(name)]
    return max(names, key=lambda name: speed([measured[name].timed[workload]]), default=None)


def peer(measured: Round, name: str, workload: str) -> list[Timed] | None:
    """A contestant's run of a workload, or of all; `FASTEST` takes the best of each. None: it did not run."""
    found = []
    for each in WORKLOADS if workload == TOGETHER else (workload,):
        who = fastest(measured, each) if name == FASTEST else name
        if who is None or who not in measured:
            return None
        found.append(measured[who].timed[each])
    return found


def ratios(rounds: Sequence[Round], ours: str, theirs: str, workload: str = TOGETHER) -> list[float]:
    """Tokens per second, ours / theirs, of every round that has both."""
    pairs = ((peer(m, ours, workload), peer(m, theirs, workload)) for m in rounds)
    return [speed(mine) / speed(other) for mine, other in pairs if mine and other]


def memory_ratios(rounds: Sequence[Round], ours: str, theirs: str) -> list[float]:
    """Peak memory, ours / theirs; of `FASTEST` the smaller peak of the sizes that count."""
    found = []
    for m in rounds:
        counted = {fastest(m, w) for w in WORKLOADS} if theirs == FASTEST else {theirs}
        peaks = [m[name].peak_bytes for name in counted if name is not None and name in m]
        if ours in m and peaks:
            found.append(m[ours].peak_bytes / min(peaks))
    return found


def agreement(rounds: Sequence[Round], ours: str, theirs: str, workload: str) -> Agreement:
    """How far two contestants gave the same answers."""
    requests = same = alike = 0
    for m in rounds:
        if ours in m and theirs in m:
            other = {c.key: c for c in m[theirs].timed[workload].completions}
            for mine in m[ours].timed[workload].completions:
                requests += 1
                if mine.text == other[mine.key].text:
                    same += 1
                    alike += mine.tokens == other[mine.key].tokens
    return Agreement(requests, same, alike)


def filled(rounds: Sequence[Round], name: str, workload: str) -> float:
    """Of the rows that fixed batches of `generate-<size>` computed step by step, the share before their end."""
    size, used, computed = int(name.removeprefix(GENERATE)), 0, 0
    for m in rounds:
        if name in m:
            tokens = [c.tokens for c in m[name].timed[workload].completions]
            batches = [tokens[i : i + size] for i in range(0, len(tokens), size)]
            used += sum(tokens)
            computed += sum(len(batch) * max(batch) for batch in batches)
    return used / computed


def names(rounds: Sequence[Round]) -> list[str]:
    """All contestants, in the order they first ran."""
    return list(dict.fromkeys(name for m in rounds for name in m))


def case_table(precision: str, rounds: Sequence[Round]) -> list[str]:
    """A precision's contestants, its ratios, its agreements."""
    width = max(map(len, names(rounds)), default=0)
    columns = [*WORKLOADS, TOGETHER]
    head = "".join(f"  {f'{c} tok/s':>26}" for c in columns)
    sizes = {w: len(t.completions) for m in rounds for run in m.values() for w, t in run.timed.items()}
    title = f"{precision}: " + ", ".join(f"{n} {w}" for w, n in sizes.items()) + " a round"
    lines = [title, f"{'':<{width}}{head}  tokens  seconds  load s  peak GiB  rounds"]
    lines += [_row(name, width, [m for m in rounds if name in m], columns) for name in names(rounds)]
    lines += [f"  {line}" for line in _filled(rounds)]
    lines += [f"  {line}" for ours in names(rounds) if _is_lidr(ours) for line in _comparisons(rounds, ours)]
    return lines


def _is_lidr(name: str) -> bool:
    return name.partition(":")[0] == LIDR


def _row(name: str, width: int, rounds: Sequence[Round], columns: Sequence[str]) -> str:
    cells = ""
    for column in columns:
        rates = [speed(found) for m in rounds if (found := peer(m, name, column))]
        cells += f"  {f'{median(rates):.1f} ({min(rates):.1f}..{max(rates):.1f})':>26}"
    runs = [m[name] for m in rounds]
    tokens = median(sum(t.tokens for t in run.timed.values()) for run in runs)
    seconds = median(sum(t.seconds for t in run.timed.values()) for run in runs)
    load, peak = median(run.load_seconds for run in runs), median(run.peak_bytes for run in runs) / GIB
    return f"{name:<{width}}{cells}  {tokens:6.0f}  {seconds:7.1f}  {load:6.1f}  {peak:8.2f}  {len(runs):6d}"


def _filled(rounds: Sequence[Round]) -> Iterator[str]:
    for name in filter(is_generate, names(rounds)):
        shares = ", ".join(f"{w} {filled(rounds, name, w):.0%}" for w in WORKLOADS)
        yield f"{f'row steps of {name} before the row ends':<{LABEL}} {shares}"


def _comparisons(rounds: Sequence[Round], ours: str) -> Iterator[str]:
    others = [name for name in names(rounds) if name != ours]
    for theirs in [FASTEST, *(o for o in others if not is_generate(o))]:
        for workload in (*WORKLOADS, TOGETHER):
            yield from _line(f"{ours} / {theirs}, {workload}", ratios(rounds, ours, theirs, workload))
        yield from _line(f"memory, {ours} / {theirs}", memory_ratios(rounds, ours, theirs))
    for workload in WORKLOADS:
        counts = Counter(name for m in rounds if (name := fastest(m, workload)))
        if counts:
            shown = ", ".join(f"{name} in {n}" for name, n in counts.most_common())
            yield f"{f'{FASTEST}, {workload}':<{LABEL}} {shown} of {len(rounds)} rounds"
    for theirs in others:
        for workload in WORKLOADS:
            a = agreement(rounds, ours, theirs, workload)
            if a.requests:
                yield f"{f'same text, {ours} and {theirs}, {workload}':<{LABEL}} {a.same} of {a.requests}"


def _line(label: str, values: Sequence[float]) -> Iterator[str]:
    found = spread(values)
    if found:
        yield f"{label:<{LABEL}} {found}"


def last_line(results: Mapping[str, Sequence[Round]]) -> str:
    """The medians in bf16 over both workloads; nan where a peer did not run."""
    rounds = results.get(HEADLINE, [])
    speedup, vllm = (_median(ratios(rounds, LIDR, theirs)) for theirs in (FASTEST, VLLM))
    return f"bench-generate: speedup={speedup:.2f} vllm={vllm:.2f}"


def _median(values: Sequence[float]) -> float:
    return median(values) if values else nan
