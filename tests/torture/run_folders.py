"""Files of a finished run that are no longer what they were, read by `lidr report` and `lidr status`."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from lidr.commands.report import report
from lidr.commands.status import status
from tests.report.runs import make_run
from tests.torture.case import Case, Given

Change = Callable[[Path], object]
RESULTS, AUDIT, PAIRS = "results.json", "iteration-1/pairs/audit.json", "iteration-1/pairs/pairs.jsonl"
METRICS, OUTCOMES = "iteration-1/training/metrics.jsonl", "iteration-0/evaluation/lab/outcomes.jsonl"
MANIFEST = "iteration-1/training/stage.json"
_DRAWN = ("results: a benchmark that climbs", "metrics: nothing")


@cache
def template() -> Path:
    """A run of one iteration, made once."""
    folder = Path(tempfile.mkdtemp(prefix="lidr-torture-")) / "run"
    make_run(folder, ["iterations=1"], limit=6)
    (folder / "status.json").write_text('{"status": "done", "pid": 1}')
    return folder


def folder_of(case: Path) -> Path:
    """A copy of the run."""
    run = case / "run"
    shutil.copytree(template(), run)
    return run


def reported(name: str, change: Change, says: str | None) -> Case:
    """A change to the run, and what its report says of it."""

    def prepare(folder: Path, _: ExitStack) -> Given:
        change(folder_of(folder))
        return Given(["report", "run"], lambda: report(["run"], None))

    slow = says is None and name not in _DRAWN  # figures are drawn
    return Case(f"report: {name}", prepare, says, "" if says else "report +run/report/report.md", slow)


def shown(name: str, change: Change, says: str | None, shows: str = "") -> Case:
    """A change to the run, and what `lidr status` says of it."""

    def prepare(folder: Path, _: ExitStack) -> Given:
        change(folder_of(folder))
        return Given(["status", "."], lambda: status("."))

    return Case(f"status: {name}", prepare, says, shows, code=1)


def content(file: str, data: bytes) -> Change:
    """A file with another content."""
    return lambda run: (run / file).write_bytes(data)


def a_folder(file: str) -> Change:
    """A folder where a file was."""

    def change(run: Path) -> None:
        (run / file).unlink(missing_ok=True)
        (run / file).mkdir(parents=True)

    return change


def edited(file: str, edit: Callable[[Any], object]) -> Change:
    """A JSON file that was edited."""

    def change(run: Path) -> None:
        values = json.loads((run / file).read_text())
        edit(values)
        (run / file).write_text(json.dumps(values))

    return change


def line(file: str, number: int, text: str) -> Change:
    """A file with another line."""

    def change(run: Path) -> None:
        lines = (run / file).read_text().splitlines()
        lines[number - 1] = text
        (run / file).write_text("\n".join(lines) + "\n")

    return change


def field(file: str, number: int, **values: Any) -> Change:
    """A line with other values; None takes a value out."""

    def change(run: Path) -> None:
        lines = (run / file).read_text().splitlines()
        record = json.loads(lines[number - 1]) | values
        lines[number - 1] = json.dumps({k: v for k, v in record.items() if v is not None})
        (run / file).write_text("\n".join(lines) + "\n")

    return change


def _score(**values: Any) -> Change:
    return edited(RESULTS, lambda results: results["scores"][0].update(values))


def _cell(**values: Any) -> Change:
    return edited(AUDIT, lambda audit: audit["pairs"][0].update(values))


NO_SCORE = r"results\.json: .* is no score -> delete the file"
NO_AUDIT = r"audit\.json: is no audit of pairs"
DEEP = b"[" * 100_000
_FILES: dict[str, tuple[Change, str | None]] = {
    "results: broken": (content(RESULTS, b'{"schema": 1,'), r"results\.json: not readable as JSON"),
    "results: nothing": (content(RESULTS, b""), r"results\.json: not readable as JSON"),
    "results: UTF-16": (content(RESULTS, "{}".encode("utf-16")), r"results\.json: not readable as JSON"),
    "results: endless nesting": (content(RESULTS, DEEP), r"results\.json: not readable as JSON"),
    "results: a number of 5,000 digits": (content(RESULTS, b"9" * 5000), r"results\.json: not readable as JSON"),
    "results: a list": (content(RESULTS, b"[]"), r"results\.json: schema 'None' is not 1"),
    "results: another schema": (content(RESULTS, b'{"schema": 99}'), r"results\.json: schema '99' is not 1"),
    "results: a folder": (a_folder(RESULTS), r"results\.json: not readable as JSON"),
    "results: scores of another type": (
        edited(RESULTS, lambda results: results.update(scores={"a": 1})), r"results\.json: scores are no list"),
    "results: meta of another type": (
        edited(RESULTS, lambda results: results.update(meta=[1])), r"results\.json: meta is no object"),
    "results: a score that is a number": (
        edited(RESULTS, lambda results: results["scores"].append(5)), NO_SCORE),
    "results: a score with a text for its value": (_score(value="high"), NO_SCORE),
    "results: a score that is not finite": (_score(value=float("nan")), NO_SCORE),
    "results: a score with a key too many": (_score(extra=1), NO_SCORE),
    "results: a score of a negative iteration": (_score(iteration=-1), NO_SCORE),
    "results: a score without a language": (_score(language=None), NO_SCORE),
    "results: a benchmark that climbs": (_score(benchmark="../../../up"), None),
    "results: a benchmark that acts on a terminal": (_score(benchmark="\x1b[31m[red]x[/red]"), NO_SCORE),
    "audit: broken": (content(AUDIT, b"{"), NO_AUDIT),
    "audit: a list": (content(AUDIT, b"[]"), NO_AUDIT),
    "audit: endless nesting": (content(AUDIT, DEEP), NO_AUDIT),
    "audit: a folder": (a_folder(AUDIT), NO_AUDIT),
    "audit: without its pairs": (edited(AUDIT, lambda audit: audit.pop("pairs")), NO_AUDIT),
    "audit: a text for a count": (_cell(kept="many"), NO_AUDIT),
    "audit: a reason that a cell lacks": (_cell(dropped={}), NO_AUDIT),
    "audit: a rate that is not finite": (_cell(mean_length_ratio=float("inf")), NO_AUDIT),
    "pairs: broken in the middle": (line(PAIRS, 3, '{"id": '), r"pairs\.jsonl:3: the line is not readable JSON"),
    "pairs: a field too few": (field(PAIRS, 2, chosen=None), r"pairs\.jsonl:2: has no text under 'chosen'"),
    "pairs: a field too many": (field(PAIRS, 2, score=0.5), None),
    "pairs: a number for a text": (field(PAIRS, 1, rejected=5), r"pairs\.jsonl:1: has no text under 'rejected'"),
    "pairs: half a surrogate pair": (
        field(PAIRS, 1, chosen="\ud800"), r"pairs\.jsonl:1: holds half a surrogate pair under 'chosen'"),
    "pairs: a blank line before the fault": (
        line(PAIRS, 2, "\n[1]"), r"pairs\.jsonl:3: the line is a JSON list"),
    "pairs: texts that break tables": (
        field(PAIRS, 1, chosen="|\n<script>$x$ \\end{tabular}\x1b[2J", prompt="=cmd|' /C calc'!A0"), None),
    "pairs: nothing": (content(PAIRS, b""), None),
    "metrics: broken": (line(METRICS, 2, "{"), r"metrics\.jsonl:2: the line is not readable JSON"),
    "metrics: a text for a loss": (
        field(METRICS, 2, **{"train/loss": "low"}), r"metrics\.jsonl:2: holds no finite number under 'train/loss'"),
    "metrics: a loss that is not finite": (
        line(METRICS, 1, '{"step": 1, "train/loss": NaN}'), r"metrics\.jsonl:1: holds no finite number"),
    "metrics: a text for a step": (field(METRICS, 1, step="x"), r"metrics\.jsonl:1: holds no finite number"),
    "metrics: nothing": (content(METRICS, b""), None),
    "outcomes: broken": (line(OUTCOMES, 1, "{"), r"outcomes\.jsonl:1: the line is not readable JSON"),
    "outcomes: no id": (field(OUTCOMES, 1, id=None), r"outcomes\.jsonl:1: is no outcome"),
    "outcomes: a text for a number": (field(OUTCOMES, 1, accuracy="yes"), r"outcomes\.jsonl:1: is no outcome"),
    "outcomes: a number of 400 digits": (field(OUTCOMES, 1, accuracy=10**400), r"outcomes\.jsonl:1: is no outcome"),
    "outcomes: nothing": (content(OUTCOMES, b""), None),
    "manifest: broken": (content(MANIFEST, b"{"), r"stage\.json: not a readable manifest"),
    "manifest: of another stage": (
        content(MANIFEST, json.dumps({
            "schema_version": 1, "stage": "iteration-1/pairs", "config": {}, "inputs": {}, "outputs": {},
            "counts": {}, "code_version": "0", "seconds": 1.0,
        }).encode()), r"stage\.json: is the manifest of 'iteration-1/pairs'"),
    "report: a file where its folder goes": (content("report", b""), r"report.*cannot be used"),
}  # fmt: skip

_EVIL = {"status": "failed", "error": "[/red]\x1b[31m" + "x" * 300, "pid": 1}

CASES: list[Case] = [
    *(reported(name, change, says) for name, (change, says) in _FILES.items()),
    shown("status that is broken", content("status.json", b"{"), None, "killed"),
    shown("status that is a list", content("status.json", b"[]"), None, "killed"),
    shown(
        "status that acts on a terminal",
        content("status.json", json.dumps(_EVIL).encode()),
        None,
        r"\[/red\]",
    ),
]
