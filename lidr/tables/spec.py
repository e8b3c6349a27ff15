"""What a table is: its rows, its columns, and which score of which experiment stands in which cell.

The specs are data, ``specs/*.yaml``; the paper's numbers are looked up and never repeated there.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lidr.errors import LidrError, did_you_mean
from lidr.evaluation import MEAN_NON_DOMINANT

_LAB_COLUMNS = ("en", "es", "de", "fr", "ru", "zh", MEAN_NON_DOMINANT)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """A column.

    languages: the codes, or the aggregate, whose score stands here; of several the mean, weighed equally.
    benchmark, metric: of the column, where they are not the block's.
    paper: how the paper's table calls it.
    """

    label: str
    languages: tuple[str, ...]
    benchmark: str | None = None
    metric: str | None = None
    paper: str | None = None


def _column(value: Any) -> Any:
    """A bare name stands for a column of that language under that name."""
    return {"label": value, "languages": [value], "paper": value} if isinstance(value, str) else value


_Columns = tuple[Annotated[Column, BeforeValidator(_column)], ...]


class Metric(_Strict):
    """A number of a cell.

    name: as the paper's values and `lidr.report.metrics` call it.
    measure: ``<benchmark>/<metric>`` of the paper's setting; ``<benchmark>@*`` is any judge's.
    lab: the same of the lab edition; None where there is none.
    columns: of this block alone, at both scales, where they are not the table's; rows: labels, likewise.
    """

    name: str
    measure: str
    lab: str | None = None
    columns: _Columns | None = None
    rows: tuple[str, ...] | None = None


class Row(_Strict):
    """A row.

    paper: how the paper's table calls it; None where it prints no such row.
    experiment: whose runs fill it; None for a row of the paper alone.
    iteration: t of M_t, or the last one of the run.
    against: t of the model that M_t is compared with.
    where: configuration values, by dotted key, that tell a grid's runs apart; lab_where: those in the lab.
    measure, lab: instead of the metric's; benchmark, lab_benchmark: instead of the benchmark in them alone.
    judge, lab_judge: whose scores stand here, where rows are of several judges.
    """

    label: str
    paper: str | None = None
    experiment: str | None = None
    iteration: int | Literal["last"] = "last"
    against: int | None = None
    where: dict[str, Any] = Field(default_factory=dict)
    lab_where: dict[str, Any] | None = None
    measure: str | None = None
    lab: str | None = None
    benchmark: str | None = None
    lab_benchmark: str | None = None
    judge: str | None = None
    lab_judge: str | None = None


class Paper(_Strict):
    """The printed table.

    values: names of the numbers of a cell, in order. scale: makes shares of them. digits: behind the point, as printed.
    """

    table: str
    values: tuple[str, ...]
    scale: float = 1.0
    digits: int = 1


class TableSpec(_Strict):
    """A table.

    title: in words. about: a sentence below it. metrics: a block each.
    lab_columns: of the lab edition. needs: what must be there before its cells can be filled, beside the runs.
    judge, lab_judge: whose scores are shown where a run has those of several.
    """

    name: str
    title: str
    about: str
    paper: Paper | None = None
    metrics: tuple[Metric, ...]
    columns: _Columns
    lab_columns: _Columns = Field(default=_LAB_COLUMNS, validate_default=True)
    rows: tuple[Row, ...]
    needs: str | None = None
    judge: str | None = None
    lab_judge: str | None = None

    @property
    def experiments(self) -> tuple[str, ...]:
        """The experiments that fill it, the main one first."""
        return tuple(dict.fromkeys(row.experiment for row in self.rows if row.experiment))


@cache
def table_names() -> tuple[str, ...]:
    """Every table there is: those the paper prints, those of its ablations, those of its reviewers."""
    names = (PurePath(f.name) for f in files("lidr.tables").joinpath("specs").iterdir())
    return tuple(sorted((path.stem for path in names if path.suffix == ".yaml"), key=_place))


def _place(name: str) -> tuple[int, int, str]:
    number = re.match(r"e(\d+)_", name)
    if number:
        return 2, int(number[1]), name
    return int(_read(name).paper is None), 0, name


def read_table(name: str) -> TableSpec:
    """The spec of a table.

    Raises:
        LidrError: there is none of that name, or its file is broken.
    """
    if name not in table_names():
        nearest = did_you_mean(name, table_names())
        raise LidrError("no table", where=name, instead=f"{nearest} (lidr table --list shows them)")
    return _read(name)


@cache
def _read(name: str) -> TableSpec:
    text = files("lidr.tables").joinpath("specs", f"{name}.yaml").read_text(encoding="utf-8")
    try:
        return TableSpec(name=name, **yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        raise LidrError(str(error), where=f"lidr/tables/specs/{name}.yaml") from error
