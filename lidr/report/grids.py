"""Tables as they are shown: from the tidy frame to titled rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lidr.evaluation import ALL, MEAN_NON_DOMINANT, MEAN_UNSEEN, PAIRS, imbalance_gap
from lidr.evaluation.reward_accuracy import NL_PAIRS
from lidr.report.frame import benchmarks, change_name, last_iteration, select
from lidr.report.metrics import MISSING, model, style, written, written_p
from lidr.report.runs import Run

Key = tuple[str, str, str]
GAP_ROW = "imbalance gap"


@dataclass(frozen=True)
class Grid:
    """A table of text.

    name: of its files. note: a line below it. source: the numbers behind it, None where there is only text.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    source: pd.DataFrame | None = None


def run_grids(run: Run, frame: pd.DataFrame, prefix: str = "") -> Iterator[Grid]:
    """One run's benchmark tables: a row a language, a column a model, then what changed."""
    mine = select(frame, run=run.label)
    for benchmark in benchmarks([run]):
        of_benchmark = select(mine, benchmark=benchmark)
        columns = _columns(run, of_benchmark, benchmark)
        for metric in metrics_of(mine, benchmark):
            yield _by_model(run, of_benchmark, benchmark, metric, columns, prefix)


def _columns(run: Run, frame: pd.DataFrame, benchmark: str) -> list[str]:
    """Every model and what changed; of what judges say, the models they were shown."""
    models = [model(t) for t in range(run.config.iterations + 1)]
    if frame["judge"].notna().any():
        return [name for name in models if name in set(frame["model"])]
    last = last_iteration(run.scores, benchmark)
    return [*models, change_name(last)] if last else models


def _by_model(
    run: Run, frame: pd.DataFrame, benchmark: str, metric: str, columns: Sequence[str], prefix: str
) -> Grid:
    cells = _cells(frame, "model")
    tests = _tests(frame, metric, columns[-1])
    rows = []
    for language in _languages([run], frame, metric):
        values = [_cell(cells, language, metric, c) for c in columns]
        values += [written_p(tests.get(language))] if tests else []
        if language == ALL:
            rows.append((GAP_ROW, MISSING, *values))
        else:
            counts = _counts(frame, language, metric)
            rows.append((_role(run, language), counts, *values))
    unit = f" ({style(metric).unit})" if style(metric).unit else ""
    return Grid(
        name=f"{prefix}{benchmark}-{metric}",
        title=f"{style(metric).title}{unit}",
        header=("language", "n", *columns, *((_p_header(columns[-1]),) if tests else ())),
        rows=tuple(rows),
        note=" ".join(_notes(frame, metric)),
        source=select(frame, metric=[metric, imbalance_gap(metric)]),
    )


def _p_header(column: str) -> str:
    return "p" if " - " in column else f"p, {column}"


def _notes(frame: pd.DataFrame, metric: str) -> Iterator[str]:
    if style(metric).meaning:
        yield f"{style(metric).title}: {style(metric).meaning}."
    gated = select(frame, metric=metric).dropna(subset="gate")
    if len(gated):
        reasons = "; ".join(
            f"{r.language}, {r.model}: {r.gate}" for r in gated.drop_duplicates("gate").itertuples()
        )
        yield f"In brackets: not to be relied on, by a gate that was set beforehand ({reasons})."


def _tests(frame: pd.DataFrame, metric: str, column: str) -> dict[str, float]:
    """The p-values of the last column, by language; the gap's under its row."""
    chosen = select(frame, metric=[metric, imbalance_gap(metric)], model=column).dropna(subset="p")
    return dict(zip(chosen["language"], chosen["p"], strict=True))


def comparison_grids(runs: Sequence[Run], frame: pd.DataFrame) -> Iterator[Grid]:
    """Runs side by side, a column a run: the last model of each, then what changed in each."""
    for benchmark in benchmarks(runs):
        of_benchmark = select(frame, benchmark=benchmark)
        lasts = {run.label: last_iteration(run.scores, benchmark) for run in runs}
        for metric in metrics_of(frame, benchmark):
            final = {label: model(last) for label, last in lasts.items()}
            changed = {label: change_name(last) for label, last in lasts.items()}
            yield _by_run(runs, of_benchmark, benchmark, metric, final, "last model", "last")
            yield _by_run(runs, of_benchmark, benchmark, metric, changed, "change since M_0", "change")


def _by_run(
    runs: Sequence[Run],
    frame: pd.DataFrame,
    benchmark: str,
    metric: str,
    column_of: Mapping[str, str],
    what: str,
    suffix: str,
) -> Grid:
    chosen = frame[frame["model"] == frame["run"].map(dict(column_of))]
    cells = _cells(chosen, "run")
    rows = [
        (
            GAP_ROW if language == ALL else _role(runs[0], language),
            *(_cell(cells, language, metric, run.label) for run in runs),
        )
        for language in _languages(runs, frame, metric)
    ]
    unit = "points" if suffix == "change" and style(metric).scale > 1 else style(metric).unit
    return Grid(
        name=f"compare-{benchmark}-{metric}-{suffix}",
        title=f"{style(metric).title}, {what} ({unit})",
        header=("language", *(f"{run.label}: {column_of[run.label]}" for run in runs)),
        rows=tuple(rows),
        source=select(chosen, metric=[metric, imbalance_gap(metric)]),
    )


def reward_grids(runs: Sequence[Run], frame: pd.DataFrame) -> Iterator[Grid]:
    """Reward accuracy of the pairs, by language and pair type; a column an iteration of a run."""
    of_pairs = select(frame, benchmark=PAIRS)
    if of_pairs.empty:
        return
    columns = [(run.label, model(t)) for run in runs for t in range(1, run.config.iterations + 1)]
    names = [name if len(runs) == 1 else f"{label}: {name}" for label, name in columns]
    for metric in metrics_of(frame, PAIRS):
        rows = []
        for language in _languages(runs, of_pairs, metric, pairs=True):
            by_run = {label: _cells(select(of_pairs, run=label), "model") for label, _ in columns}
            values = [_cell(by_run[label], language, metric, name) for label, name in columns]
            shown = "all pairs" if language == ALL else _role(runs[0], language)
            rows.append((shown, _counts(of_pairs, language, metric), *values))
        yield Grid(
            name=f"{PAIRS}-{metric}",
            title=f"{style(metric).title} ({style(metric).unit})",
            header=("pairs", "n", *(f"for {name}" if len(runs) == 1 else name for name in names)),
            rows=tuple(rows),
            note=f"{style(metric).title}: {style(metric).meaning}; n counts problems.",
            source=select(of_pairs, metric=metric),
        )


def metrics_of(frame: pd.DataFrame, benchmark: str) -> list[str]:
    """A benchmark's metrics in order; gaps are rows of the metric they belong to."""
    found: list[str] = list(dict.fromkeys(select(frame, benchmark=benchmark)["metric"]))
    gaps = {imbalance_gap(metric) for metric in found}
    return [metric for metric in found if metric not in gaps]


def _languages(runs: Sequence[Run], frame: pd.DataFrame, metric: str, pairs: bool = False) -> list[str]:
    """The rows of a metric's table: languages as the runs order them, then aggregates, then the gap."""
    present = set(select(frame, metric=metric)["language"])
    codes = dict.fromkeys(code for run in runs for code in run.config.languages.all)
    if pairs:
        return [code for code in (*codes, NL_PAIRS, ALL) if code in present]
    rows = [code for code in codes if code in present or not present]
    rows += [label for label in (MEAN_NON_DOMINANT, MEAN_UNSEEN) if label in present]
    return rows + ([ALL] if (frame["metric"] == imbalance_gap(metric)).any() else [])


def _cells(frame: pd.DataFrame, column: str) -> dict[Key, str]:
    """Text by language, metric and column; differences carry their sign."""
    found = {}
    for r in frame.itertuples():
        numbers = map(_known, (r.value, r.low, r.high))
        text = written(str(r.metric), *numbers, signed=" - " in str(r.model))
        key = (str(r.language), str(r.metric), str(getattr(r, column)))
        found[key] = f"({text})" if isinstance(r.gate, str) else text
    return found


def _known(value: object) -> float | None:
    return None if pd.isna(value) else float(value)  # type: ignore[arg-type, call-overload]


def _cell(cells: Mapping[Key, str], language: str, metric: str, column: str) -> str:
    return cells.get((language, imbalance_gap(metric) if language == ALL else metric, column)) or cells.get(
        (language, metric, column), MISSING
    )


def _counts(frame: pd.DataFrame, language: str, metric: str) -> str:
    """Problems behind a row: one number, or the range over its columns."""
    counts = select(frame, language=language, metric=metric)["n"]
    if counts.empty:
        return MISSING
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _role(run: Run, language: str) -> str:
    """The language with its role in the run."""
    languages = run.config.languages
    role = "dominant" if language == languages.dominant else "unseen" if language in languages.unseen else ""
    return f"{language} ({role})" if role else language
