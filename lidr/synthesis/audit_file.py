"""``audit.json`` read back, as far as tables show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lidr.errors import LidrError
from lidr.printable import short

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


class _Rate(BaseModel):
    model_config = _STRICT
    rate: float | None


class _Sides(BaseModel):
    model_config = _STRICT
    chosen: _Rate
    rejected: _Rate


class _Cell(BaseModel):
    model_config = _STRICT
    type: str
    language: str
    candidates: int
    kept: int
    dropped: dict[str, int]
    on_target: _Sides
    mean_length_ratio: float | None


class _Audit(BaseModel):
    model_config = _STRICT
    candidates: int
    kept: int
    dropped: dict[str, int]
    pairs: list[_Cell]


def read_audit(path: Path) -> dict[str, Any]:
    """The audit of an iteration's pairs.

    Raises:
        LidrError: the file is missing, no JSON, or lacks what the tables show.
    """
    try:
        data = path.read_bytes()
        found = _Audit.model_validate_json(data)
        audit: dict[str, Any] = json.loads(data)
    except OSError as error:
        raise _not_an_audit(path, f"cannot be read: {error.strerror}") from None
    except (ValidationError, ValueError, RecursionError) as error:
        raise _not_an_audit(path, _reason(error)) from None
    if any(set(found.dropped) - set(cell.dropped) for cell in found.pairs):
        raise _not_an_audit(path, "a reason to drop pairs is counted in all of them and not in each kind")
    return audit


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return short(error)
    first = error.errors(include_url=False, include_input=False)[0]
    return short(f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": "))


def _not_an_audit(path: Path, reason: str) -> LidrError:
    return LidrError(
        f"is no audit of pairs ({reason})",
        where=str(path),
        instead=f"delete {path.parent} and run the same command again",
    )
