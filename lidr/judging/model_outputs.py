"""alpaca_eval's ``model_outputs.json``: answers of any model, read as an opponent's and written for its tools."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lidr.errors import LidrError
from lidr.files import write_text
from lidr.records import Prompt, Response

_FORM = 'write a list of {"instruction": "...", "output": "...", "generator": "..."}'


def read(path: Path, prompts: Sequence[Prompt]) -> dict[str, str]:
    """The output to each prompt, by id; matched by the instruction's text, in whatever order.

    Raises:
        LidrError: the file is missing or of another form, or lacks a prompt's output.
    """
    outputs: dict[str, str] = {}
    for number, entry in enumerate(_entries(path), start=1):
        instruction, output = entry.get("instruction"), entry.get("output")
        if not isinstance(instruction, str) or not isinstance(output, str):
            raise LidrError("has no instruction and output", where=f"{path}: entry {number}", instead=_FORM)
        outputs.setdefault(instruction.strip(), output)
    absent = [p for p in prompts if p.prompt.strip() not in outputs]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise LidrError(
            f"has no output to the prompt {absent[0].id!r}{more}",
            where=str(path),
            instead="take the outputs to the same prompts in the same language, or type a smaller limit",
        )
    return {p.id: outputs[p.prompt.strip()] for p in prompts}


def write(path: Path, responses: Iterable[Response], generator: str, dataset: str) -> int:
    """Writes answers atomically; returns their number."""
    entries = [
        {"dataset": dataset, "instruction": r.prompt, "output": r.response, "generator": generator}
        for r in responses
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(entries, ensure_ascii=False, indent=1) + "\n")
    return len(entries)


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise LidrError(f"cannot be read ({error.strerror})", where=str(path)) from None
    except (ValueError, RecursionError) as error:
        raise LidrError(f"is not readable JSON ({error})", where=str(path), instead=_FORM) from None
    if not isinstance(found, list) or not found or not all(isinstance(e, dict) for e in found):
        raise LidrError("is no list of entries", where=str(path), instead=_FORM)
    return found
