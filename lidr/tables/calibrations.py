"""The scales of judges, as `lidr calibrate` has left them: numbers of a table that no run fills."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lidr.errors import LidrError
from lidr.evaluation.statistics import Estimate
from lidr.jsonl import is_number
from lidr.judging.judges import FILE
from lidr.tables.editions import CALIBRATION, Edition, Scale, Source
from lidr.tables.measure import Measured
from lidr.tables.spec import TableSpec

FOLDER, SCALES = "calibration", "scales.json"
_NUMBERS = ("intact", "offset", "slope")
_Scales = Mapping[str, Mapping[str, Mapping[str, Estimate]]]


def is_of_calibrations(table: TableSpec) -> bool:
    """Whether a table shows scales of judges, and no run."""
    return all(metric.measure.partition("@")[0] == CALIBRATION for metric in table.metrics)


def calibrations(table: TableSpec, outputs: Path, scale: Scale | None = None) -> Edition:
    """The edition of all judges that were calibrated below an outputs folder; there may be none.

    Without a scale it is the paper's, unless only judges of the lab were calibrated.

    Raises:
        LidrError: a file of scales is broken.
    """
    by_scale: dict[Scale, dict[str, dict[str, dict[str, Estimate]]]] = {at: {} for at in Scale}
    for path in sorted((outputs / FOLDER).glob(f"*/{SCALES}")):
        kind = _read(path.with_name(FILE)).get("kind") if path.with_name(FILE).exists() else None
        by_scale[Scale.LAB if kind == "lab" else Scale.PAPER][path.parent.name] = _scales(path)
    chosen = scale or (Scale.LAB if by_scale[Scale.LAB] and not by_scale[Scale.PAPER] else Scale.PAPER)
    return replace(Edition(table, chosen, ()), scales=by_scale[chosen])


def calibrated(scales: _Scales, source: Source, languages: Sequence[str]) -> Measured | None:
    """A number of a judge's scale in a language; None where it was not calibrated."""
    found = scales.get(source.judge or "", {}).get(languages[0], {}).get(source.metric)
    if found is None or found.value is None:
        return None
    return Measured(found.value, found.low, found.high, found.n)


def _scales(path: Path) -> dict[str, dict[str, Estimate]]:
    found: dict[str, dict[str, Estimate]] = {}
    for record in _read(path).get("scales", ()):
        if not isinstance(record, dict) or not isinstance(record.get("language"), str):
            raise _broken(path)
        found[record["language"]] = {name: _estimate(record.get(name), path) for name in _NUMBERS}
    return found


def _estimate(value: Any, path: Path) -> Estimate:
    if not isinstance(value, dict) or set(value) != set(Estimate._fields):
        raise _broken(path)
    if not all(number is None or is_number(number) for number in value.values()):
        raise _broken(path)
    return Estimate(**value)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise _broken(path) from None
    return values if isinstance(values, dict) else {"scales": values if isinstance(values, list) else [None]}


def _broken(path: Path) -> LidrError:
    return LidrError("is no file of a calibration", where=str(path), instead="delete it and calibrate again")
