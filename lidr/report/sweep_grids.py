"""A sweep's tables: a row a setting, and those of the numbers that its figures show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from lidr.evaluation.seeds import SeedEstimate
from lidr.report.grids import Grid
from lidr.report.metrics import MISSING, model, style, written
from lidr.report.sweep import Results, Setting, Sweep
from lidr.report.sweep_views import Curve, Effects, HeatMap

SEEDS, LAST, CHANGE, AGAINST = "seeds", "last", "change", "vs first"


def sweep_grids(sweep: Sweep) -> Iterator[Grid]:
    """Of each benchmark: what each setting came to, and what it changed by language."""
    for found in sweep.results:
        yield summary(found)
        yield _by_language(found)


def summary(found: Results) -> Grid:
    """A benchmark's headline by setting."""
    sweep, row, dominant = found.sweep, found.headline, found.dominant
    base, lasts = sweep.settings[0], {found.last(setting) for setting in sweep.settings}
    rows = []
    for setting in sweep.settings:
        last = found.last(setting)
        against = None if setting is base else found.against(setting, base)
        rows.append(
            (
                *setting.labels,
                str(len(setting.runs)),
                *(_cell(found, found.level(setting, t, row)) for t in (0, last)),
                *([model(last)] if len(lasts) > 1 else []),
                _cell(found, found.change(setting, row), signed=True),
                _cell(found, against, signed=True),
                _cell(found, found.change(setting, dominant), signed=True),
            )
        )
    reached = [model(*lasts)] if len(lasts) == 1 else [LAST, "model"]
    header = (*(axis.name for axis in sweep.axes), SEEDS, model(0), *reached, CHANGE, AGAINST, dominant)
    return Grid(
        name=f"sweep-{found.benchmark}-{found.metric}",
        title=f"{style(found.metric).title} ({style(found.metric).unit}), {row}, by setting",
        header=header,
        rows=tuple(rows),
        note=_note(found),
        source=_source(found),
    )


def _note(found: Results) -> str:
    seeds = max(len(setting.runs) for setting in found.sweep.settings)
    drawn = "seeds and problems" if seeds > 1 else "problems alone, as there is one seed"
    return (
        f"change: last model minus M_0; {AGAINST}: how much more than the first row's; {found.dominant}: its change. "
        f"Differences are paired; 95 % intervals draw {drawn}."
    )


def _by_language(found: Results) -> Grid:
    sweep = found.sweep
    rows = tuple(
        (*setting.labels, *(_cell(found, found.change(setting, row), signed=True) for row in found.rows))
        for setting in sweep.settings
    )
    return Grid(
        name=f"sweep-{found.benchmark}-{found.metric}-languages",
        title=f"{style(found.metric).title}, change by language (points)",
        header=(*(axis.name for axis in sweep.axes), *found.rows),
        rows=rows,
        note="Last model minus M_0, paired.",
        source=_source(found),
    )


def heat_grids(found: Results, heat: HeatMap) -> Iterator[Grid]:
    """The numbers of a heat map, a table a panel."""
    for title, cells in heat.panels:
        rows = zip(heat.y.values, cells, strict=True)
        yield Grid(
            name=f"sweep-{found.benchmark}-{found.metric}-heat",
            title=f"Change (points), {found.headline}" + (f", {title}" if title else ""),
            header=(f"{heat.y.name}, by {heat.x.name}", *heat.x.values),
            rows=tuple((value, *(_cell(found, cell, signed=True) for cell in row)) for value, row in rows),
        )


def curve_grid(found: Results, drawn: Sequence[Curve]) -> Grid:
    """The numbers of the curves: a row a setting, a column a model."""
    models = range(max(len(curve.levels) for curve in drawn))
    rows = []
    for curve in drawn:
        levels = dict(enumerate(curve.levels))
        rows.append((*curve.setting.labels, *(_cell(found, levels.get(t)) for t in models)))
    return Grid(
        name=f"sweep-{found.benchmark}-{found.metric}-curves",
        title=f"{style(found.metric).title} ({style(found.metric).unit}), {found.headline}, by model",
        header=(*(axis.name for axis in found.sweep.axes), *map(model, models)),
        rows=tuple(rows),
    )


def effect_grid(found: Results, effects: Effects) -> Grid:
    """The numbers of one axis' effects: a row a value, a column a language."""
    rows = effects.by_value.items()
    return Grid(
        name=f"sweep-{found.benchmark}-{found.metric}-effects",
        title=f"Change (points) by {effects.axis.name}",
        header=(effects.axis.name, *found.rows),
        rows=tuple((value, *(_cell(found, cell, signed=True) for cell in own)) for value, own in rows),
    )


def _cell(found: Results, estimate: SeedEstimate | None, signed: bool = False) -> str:
    if estimate is None:
        return MISSING
    value, low, high, _ = estimate.estimate
    return written(found.metric, value, low, high, signed=signed)


def _source(found: Results) -> pd.DataFrame:
    """Every number behind the tables: levels by model, and the change."""
    return pd.DataFrame([record for s in found.sweep.settings for record in _records(found, s)])


def _records(found: Results, setting: Setting) -> Iterator[Mapping[str, object]]:
    last = found.last(setting)
    for row in found.rows:
        named = [(model(t), found.level(setting, t, row)) for t in range(last + 1)]
        named += [(f"{model(last)} - {model(0)}", found.change(setting, row))] if last else []
        for name, estimate in named:
            if estimate is not None:
                value, low, high, n = estimate.estimate
                axes = dict(zip((a.name for a in found.sweep.axes), setting.labels, strict=True))
                measured = {
                    "benchmark": found.benchmark,
                    "metric": found.metric,
                    "language": row,
                    "model": name,
                }
                numbers = {"value": value, "low": low, "high": high, "n": n, SEEDS: len(setting.runs)}
                yield axes | measured | numbers | {"lowest": estimate.lowest, "highest": estimate.highest}
