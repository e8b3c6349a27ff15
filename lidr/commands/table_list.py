"""``lidr table --list``: which tables there are, what has been run of them, and what they take."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from lidr.commands.table import console, outputs, say
from lidr.config import RunConfig, TranslatorKind, read_config
from lidr.errors import ConfigError
from lidr.estimate import estimate, together
from lidr.estimate.ranges import Range
from lidr.estimate.written import UNKNOWN, ends, number, size
from lidr.paths import BUILTIN_LAB
from lidr.preflight import preflight
from lidr.store import find_runs
from lidr.synthesis.read import draws, routes_for, samples
from lidr.tables import Scale, TableSpec, read_header, read_table, table_names
from lidr.tables.editions import is_finished
from lidr.tables.headers import run_name

_PLACEHOLDER = re.compile(r"<[^>]*>")
_DATA = "paths.data="


def list_tables(name: str | None, scale: str | None, data: str | None) -> int:
    """Prints all tables, or what one of them takes.

    Args:
        name: of a table; None for all.
        scale: paper or lab; None for both.
        data: folder of the official files, in which the paper's prompts are counted; None where it is not at hand.

    Raises:
        LidrError: there is no such table.
    """
    scales = [Scale(scale)] if scale else list(Scale)
    if name is None:
        return _all(scales)
    return _one(read_table(name), scales, data)


def _all(scales: Sequence[Scale]) -> int:
    runs = outputs()
    made = Table(box=None, header_style="bold", pad_edge=False)
    takes = ("requests" if at is Scale.PAPER else "time" for at in scales)
    columns = [f"{at}: {what}" for at, take in zip(scales, takes, strict=True) for what in ("runs", take)]
    for column in ("table", "what", "experiment", *columns):
        made.add_column(column, justify="right" if column in columns else "left", no_wrap=True)
    done: dict[str, Counter[Scale]] = {}
    for name in table_names():
        spec = read_table(name)
        first = (name, spec.title)
        if not spec.experiments:
            made.add_row(*map(escape, first), *("-" for _ in ("", *columns)))
        for experiment in spec.experiments:
            if experiment not in done:
                done[experiment] = finished(runs, run_name(experiment))
            header = read_header(experiment)
            cells = (
                cell
                for at in scales
                for cell in (
                    str((header.runs and done[experiment][at]) or "-"),
                    header.requests if at is Scale.PAPER else header.lab_time,
                )
            )
            made.add_row(*map(escape, (*first, experiment, *cells)))
            first = ("", "")
    screen = console()
    screen.print(made)
    say(screen, f"runs    finished ones below {runs}")
    say(screen, "time    of the lab's edition: processor time, about what it takes on an idle core")
    say(screen, "more    lidr table <table> --list: commands, hardware, requests, tokens, disk")
    return 0


def finished(runs: Path, name: str) -> Counter[Scale]:
    """How many finished runs of a name there are at each scale."""
    found = find_runs(runs / name) if (runs / name).is_dir() else []
    configs = [read_config(run.root / "config.yaml") for run in found if is_finished(run, name)]
    return Counter(Scale.LAB if c.model.path == BUILTIN_LAB else Scale.PAPER for c in configs)


def _one(spec: TableSpec, scales: Sequence[Scale], data: str | None) -> int:
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("experiment", "scale", "jobs", "requests", "tokens in", "tokens out", "disk"):
        made.add_column(column, justify="left" if column in ("experiment", "scale") else "right")
    remarks: dict[str, None] = {}
    for experiment in spec.experiments:
        for scale in scales:
            cells, remark = _cost(experiment, scale, data)
            made.add_row(experiment, str(scale), *cells)
            remarks[remark] = None
    screen = console()
    screen.print(made)
    for experiment in spec.experiments:
        header = read_header(experiment)
        for scale in scales:
            paper = scale is Scale.PAPER
            say(screen, f"run     {header.command if paper else header.lab}")
            if judge := header.judge if paper else header.lab_judge:
                say(screen, f"then    {judge}")
        say(screen, f"        {header.hardware}; {header.time}")
    for remark in filter(None, remarks):
        say(screen, f"note    {remark}")
    return 0


def jobs(experiment: str, scale: Scale, data: str | None) -> list[RunConfig]:
    """The runs that an experiment's command starts; what it leaves to the reader stands as a placeholder."""
    from lidr.compose import compose_run, compose_sweep

    header = read_header(experiment)
    if not header.runs:
        return []
    text = header.command if scale is Scale.PAPER else header.lab
    if data is not None:
        text = re.sub(_DATA + _PLACEHOLDER.pattern, f"{_DATA}{shlex.quote(data)}", text)
    words = shlex.split(_PLACEHOLDER.sub("placeholder", text))[2:]
    overrides = [word for word in words if word != "-m"]
    if "-m" in words:
        return [config for _, config in compose_sweep(overrides)]
    return [compose_run(overrides)]


def _cost(experiment: str, scale: Scale, data: str | None) -> tuple[tuple[str, ...], str]:
    """Jobs, requests, tokens in and out, disk; and a remark."""
    configs = jobs(experiment, scale, data)
    if not configs:
        return ("-",) * 5, ""
    try:
        for config in configs:
            preflight(config)
    except ConfigError:
        asked = sum(map(requests, configs))
        why = (
            "tokens are counted where the prompt files are at hand: --data <clone of the paper's repository>"
        )
        return (str(len(configs)), number(asked), "-", "-", "-"), why
    found = [estimate(config) for config in configs]
    need = together(each.total for each in found)
    asked_for = (ends(r, number) for r in (need.requests, need.prompt_tokens, need.answer_tokens))
    disk = UNKNOWN if need.bytes is None else size(_expected(need.bytes))
    why = "tokens and disk: expected, as lidr check counts them; of a finished run nothing is left to do"
    return (str(len(configs)), *asked_for, disk), why


def _expected(value: Range) -> float:
    return value.expected


def requests(config: RunConfig) -> int:
    """Answers, translations and scores that a run asks for, from its configuration alone."""
    limit, ways = config.prompts.limit, len(routes_for(config.languages, config.pairs))
    translated = 0 if config.translator.kind is TranslatorKind.NONE else limit * ways
    drawn, scored = (len(files(config.languages, config.pairs)) for files in (draws, samples))
    loop = config.iterations * (limit * (len(config.languages.trained) + drawn + scored) + translated)
    asked = sum(b.prompts.limit * len(b.codes(config.languages)) for b in config.asked_benchmarks.values())
    return loop + (config.iterations + 1) * asked
