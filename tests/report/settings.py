"""The settings of a sweep, made up: so and so many right answers, from which every number can be worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lidr.evaluation import outcomes
from lidr.evaluation.outcomes import Outcome
from lidr.evaluation.scores import Score
from lidr.report.frame import tidy
from lidr.report.page import write_page
from lidr.report.runs import Run
from lidr.report.sections import sections
from lidr.report.sweep import Sweep, find_sweep
from tests.changed import base, changed

LANGUAGES = ("en", "es", "ru")
Right = dict[str, Sequence[int]]
PROBLEMS = 4


SMALL = ("experiment=lab", "languages.non_dominant=[es,ru]", "languages.unseen=[]", "iterations=1")


def make(folder: Path, *overrides: str, after: Right, before: Right | None = None, **values: object) -> Run:
    """A run of one iteration with so and so many right answers: 1 or 0 a problem, by language."""
    config = changed(base(*SMALL, *overrides), **values)
    root = folder / f"run-{len(list(folder.iterdir()))}"
    none_right: Right = {code: [0] * PROBLEMS for code in LANGUAGES}
    for t, right in enumerate((none_right | (before or {}), none_right | after)):
        rows = [
            Outcome(f"p{number}", code, {"accuracy": float(value)})
            for code in config.languages.all
            for number, value in enumerate(right[code])
        ]
        place = root / f"iteration-{t}" / "evaluation" / "lab"
        place.mkdir(parents=True)
        outcomes.write(place, rows)
    scores = tuple(
        Score("lab", code, t, "accuracy", 0.0, None, None, PROBLEMS)
        for t in (0, 1)
        for code in config.languages.all
    )
    return Run(root, "", config, scores, {}, {}, {}, {}, {})


def swept(runs: Sequence[Run]) -> Sweep:
    found = find_sweep(runs)
    assert found is not None
    return found


def page_of_settings(runs: Sequence[Run], out: Path) -> str:
    """The page of runs that hold scores alone."""
    named = [replace(run, label=f"run {number}") for number, run in enumerate(runs)]
    frame = tidy(named)
    write_page(out, named, frame, list(sections(named, frame, [], find_sweep(named))))
    return out.read_text(encoding="utf-8")


@pytest.fixture
def grid(tmp_path: Path) -> list[Run]:
    """Two betas by two rates by two seeds, in no order."""
    runs = []
    for beta, rate, seed, right in (
        (0.5, 1e-4, 1, [1, 1, 0, 0]), (0.1, 1e-4, 0, [1, 1, 1, 1]), (0.1, 3e-5, 1, [1, 0, 0, 0]),
        (0.1, 3e-5, 0, [0, 0, 0, 0]), (0.5, 3e-5, 0, [0, 0, 0, 0]), (0.1, 1e-4, 1, [1, 1, 1, 1]),
        (0.5, 1e-4, 0, [1, 1, 0, 0]), (0.5, 3e-5, 1, [0, 0, 0, 0]),
    ):  # fmt: skip
        values = {"objective__beta": beta, "training__lr": rate, "seed": seed}
        runs.append(make(tmp_path, after={"es": right, "ru": right}, **values))
    return runs
