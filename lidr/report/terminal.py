"""The table at the end of ``lidr run``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from lidr.evaluation import ALL, PAIRS, Score
from lidr.report.metrics import model, style, written

_HEADLINE = ("accuracy", "on_target")
_BESIDE = "off_target"


def terminal_table(scores: Sequence[Score], benchmark: str | None = None) -> Table:
    """A benchmark's main metric by language and model, with the off-target rates of the first and last model.

    Args:
        scores: of one run.
        benchmark: which one; the first that was scored where none is named.
    """
    name = benchmark or next((s.benchmark for s in scores if s.benchmark != PAIRS), "")
    mine = [s for s in scores if s.benchmark == name]
    metrics = {s.metric for s in mine}
    metric = next((m for m in _HEADLINE if m in metrics), next(iter(sorted(metrics)), ""))
    found = {(s.language, s.metric, s.iteration): s for s in mine}
    iterations = sorted({s.iteration for s in mine})
    form = style(metric)
    table = Table(
        title=f"{name}: {form.title.lower()} ({form.unit}) with 95 % interval", box=None, title_justify="left"
    )
    table.add_column("language")
    for t in iterations:
        table.add_column(model(t), justify="right")
    changes = len(iterations) > 1
    if changes:
        table.add_column(f"{model(iterations[-1])} - {model(iterations[0])}", justify="right")
    if _BESIDE in metrics:
        for t in dict.fromkeys((iterations[0], iterations[-1])):
            table.add_column(f"off target {model(t)}", justify="right")
    for language in dict.fromkeys(s.language for s in mine):
        if language == ALL:
            continue
        row = [language, *(_cell(found.get((language, metric, t))) for t in iterations)]
        if changes:
            row.append(_change(*(found.get((language, metric, t)) for t in (iterations[0], iterations[-1]))))
        if _BESIDE in metrics:
            row += [
                _plain(found.get((language, _BESIDE, t)))
                for t in dict.fromkeys((iterations[0], iterations[-1]))
            ]
        table.add_row(*row)
    return table


def _cell(score: Score | None) -> str:
    return "-" if score is None else written(score.metric, score.value, score.low, score.high)


def _plain(score: Score | None) -> str:
    return "-" if score is None else written(score.metric, score.value)


def _change(first: Score | None, last: Score | None) -> str:
    if first is None or last is None or first.value is None or last.value is None:
        return "-"
    return written(last.metric, last.value - first.value, signed=True)
