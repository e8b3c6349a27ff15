"""The ablations in the lab, several seeds each: runs what is missing, then writes the tables of ``docs/ablations.md``.

    python -m experiments.ablations --write docs/ablations.md

Every row is compared with its table's reference row, seed by seed and problem by problem, so that a difference is seen
that is smaller than the interval of either row.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lidr.evaluation.seeds import SeedEstimate, over_seeds, table
from lidr.evaluation.statistics import RATE, RATE_DIFFERENCE
from lidr.files import write_text
from lidr.report.metrics import MISSING, written
from lidr.report.runs import Run
from lidr.report.seeds import by_language, weighted
from lidr.tables import Scale, read_header, read_table
from lidr.tables.editions import Edition, found_in
from lidr.tables.spec import Row

WEAKER = ("es", "de", "fr", "ru")
# Table, and the row that the others are compared with.
REFERENCES = {
    "sft_baseline": "DPO: M_1",
    "nll_weight": "alpha 1",
    "e5_pair_types": "nl and en (last)",
    "e6_translator": "self",
    "iterations": "M_2",
    "e10_iterations": "fresh previous M_4",
    "e12_prompts": "200 prompts",
    "e12_languages": "4 trained",
    "e9_objective": "beta 0.1 alpha 1 by sequence",
}
HEADER = (
    "row",
    "seeds",
    "en",
    "es de fr ru",
    "off target",
    "zh (unseen)",
    "es de fr ru, against {reference}",
)
_MARKS = ("<!-- {name}: written by experiments/ablations.py -->\n", "<!-- end -->\n")


class Column(NamedTuple):
    """What a column shows: a metric of the lab, mean over languages."""

    metric: str
    languages: Sequence[str]


COLUMNS = (
    Column("accuracy", ("en",)),
    Column("accuracy", WEAKER),
    Column("off_target", WEAKER),
    Column("accuracy", ("zh",)),
)
COMPARED = COLUMNS[1]


def main() -> int:
    """Runs, prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="where runs are")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--write", type=Path, help="a page whose marked tables are written anew")
    parser.add_argument("--only", action="append", choices=list(REFERENCES), help="one table; all")
    parser.add_argument("--no-runs", action="store_true", help="tables of what is there")
    options = parser.parse_args()
    names = options.only or list(REFERENCES)
    if not options.no_runs:
        _run(names, options.seeds, options.outputs)
    for name in names:
        lines = list(_lines(name, options.outputs))
        sys.stdout.write("\n".join(["", name, *lines, ""]))
        if options.write:
            _write(options.write, name, lines)
    return 0


def _run(names: Sequence[str], seeds: str, outputs: Path) -> None:
    """Every experiment of the tables; what is finished is not run again."""
    for experiment in dict.fromkeys(e for name in names for e in read_table(name).experiments):
        words = [w for w in shlex.split(read_header(experiment).lab)[2:] if w != "-m"]
        command = [
            "-m",
            "lidr",
            "run",
            "-m",
            *words,
            f"seed={seeds}",
            "tracking=none",
            f"paths.outputs={outputs}",
        ]
        sys.stderr.write(" ".join(command[1:]) + "\n")
        subprocess.run([sys.executable, *command], check=True)


def _lines(name: str, outputs: Path) -> Iterator[str]:
    """The table in Markdown."""
    edition = found_in(read_table(name), outputs, Scale.LAB)
    rows = [row for row in edition.table.rows if row.experiment]
    (reference,) = (row for row in rows if _label(row) == REFERENCES[name])
    against = _values(edition, reference, COMPARED)
    yield "| " + " | ".join(HEADER).format(reference=f"`{_label(reference)}`") + " |"
    yield "| --- | " + " | ".join("---:" for _ in HEADER[1:]) + " |"
    for row in rows:
        runs = edition.group(row)
        if not runs:
            continue
        cells = [_label(row), str(len(runs))]
        cells += [_cell(c.metric, _over(_values(edition, row, c))) for c in COLUMNS]
        own = _values(edition, row, COMPARED)
        change = MISSING if row is reference else _cell("accuracy", _change(own, against), signed=True)
        yield "| " + " | ".join([*cells, change]) + " |"


def _label(row: Row) -> str:
    """Of the lab's edition."""
    found = re.fullmatch(r".*\(lab: (\w+)\)", row.label)
    return f"{found[1]} prompts" if found else row.label


_Values = Mapping[int, Mapping[str, float]]  # by seed and problem


def _values(edition: Edition, row: Row, column: Column) -> _Values:
    found = {run.config.seed: _of(run, row, column) for run in edition.group(row)}
    return {seed: values for seed, values in found.items() if values is not None}


def _of(run: Run, row: Row, column: Column) -> Mapping[str, float] | None:
    t = run.config.iterations if row.iteration == "last" else row.iteration
    found = by_language(run, "lab", column.metric, t)
    return weighted(found, {code: 1 / len(column.languages) for code in column.languages})


def _over(values: _Values) -> SeedEstimate | None:
    return over_seeds(table(list(values.values())), RATE) if values else None


def _change(own: _Values, other: _Values) -> SeedEstimate | None:
    seeds = [seed for seed in own if seed in other]
    if not seeds:
        return None
    differences = [{p: own[s][p] - other[s][p] for p in own[s] if p in other[s]} for s in seeds]
    return over_seeds(table(differences), RATE_DIFFERENCE)


def _cell(metric: str, found: SeedEstimate | None, signed: bool = False) -> str:
    if found is None:
        return MISSING
    value, low, high, _ = found.estimate
    return written(metric, value, low, high, signed=signed)


def _write(page: Path, name: str, lines: Sequence[str]) -> None:
    begin, end = _MARKS
    text = page.read_text(encoding="utf-8")
    before, mark, rest = text.partition(begin.format(name=name))
    if not mark:
        sys.exit(f"{page} has no line {begin.format(name=name).strip()}")
    after = rest[rest.index(end) :]
    write_text(page, before + mark + "".join(f"{line}\n" for line in lines) + after)


if __name__ == "__main__":
    sys.exit(main())
