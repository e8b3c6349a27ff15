"""What is expected of the jobs of a sweep together, against what sharing does when they run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lidr import sharing
from lidr.compose import compose_sweep, config_folder
from lidr.estimate import estimate, stage_counts
from lidr.stages import stages
from tests.changed import base, changed
from tests.pretended import compute, pretend

SMALL = ("experiment=lab", "evaluation.lab.prompts.limit=2", "tracking=none")
# Stages of all jobs, and how many of them are copied: 13 a job, of which 2 choose prompts and are never copied.
SWEEPS = {
    "beta": (3 * 13, 2 * 4),  # M_0's evaluation; answers, translations and pairs of iteration 1
    "beta_lr": (9 * 13, 8 * 4),
    "nll": (5 * 13, 4 * 4),
    "languages": (4 * 13, 0),
    "language_count": (3 * 13, 0),
    "pair_types": (3 * 13, 2 * 3),  # other pairs from the same answers and translations
    "en_rejected": (4 * 13, 3 * 3),
    "prompt_schedule": (2 * 13, 6),  # all of iteration 1
    "reference": (
        2 * 13,
        4 + 1 + 3,
    ),  # M_1 is trained twice, to the same weights; its evaluation and what it answers
    "iterations": (5 + 6 * (1 + 2 + 3 + 4), 4 + 5 * (3 + 2 + 1)),
    "prompt_count": (4 * 13, 3),
    "prompts_lr": (3 * 13, 2),
    "seeds": (5 * 13, 0),
}
QUICK = ("pair_types", "prompt_schedule", "reference", "iterations")  # the others: make check-sweeps
SEARCHES = {"search"}  # of which nobody knows the jobs


def test_every_sweep_is_here() -> None:
    there = {path.stem for path in (config_folder("sweeps") / "sweep").glob("*.yaml")}
    assert there == SWEEPS.keys() | SEARCHES


@pytest.mark.parametrize("name", [name for name in SWEEPS if name in QUICK or "LIDR_SWEEPS" in os.environ])
def test_what_is_expected_of_a_sweep_is_what_its_jobs_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch)
    overrides = [*SMALL, f"sweep={name}", f"paths.outputs={tmp_path}"]
    if name not in ("prompt_count", "prompts_lr"):
        overrides.append("prompts.limit=2")
    configs = [config for _, config in compose_sweep(overrides)]
    expected = stage_counts([estimate(config) for config in configs])
    runs = [compute(config) for config in configs]
    manifests = [run.manifest(s) for run, config in zip(runs, configs, strict=True) for s in stages(config)]
    assert all(manifests)
    taken = sum(m.taken_from is not None for m in manifests if m is not None)
    assert expected == (len(manifests), taken) == SWEEPS[name]
    assert stage_counts([estimate(config) for config in configs]) == (0, 0)


def test_what_other_code_has_computed_is_computed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch)
    small = changed(base(*SMALL, "prompts.limit=2"), paths__outputs=str(tmp_path))
    configs = [changed(small, objective__beta=beta) for beta in (0.1, 0.3, 0.5)]
    compute(configs[0])
    assert stage_counts([estimate(config) for config in configs]) == (2 * 13, 2 * 4)
    monkeypatch.setattr(sharing, "_code", lambda: "another version")
    assert stage_counts([estimate(config) for config in configs]) == (2 * 13, 4), (
        "once for both that are left"
    )


def test_jobs_that_share_nothing_are_counted_apart(tmp_path: Path) -> None:
    small = changed(base(*SMALL, "prompts.limit=2"), paths__outputs=str(tmp_path), paths__share=False)
    configs = [changed(small, objective__beta=beta) for beta in (0.1, 0.3)]
    assert stage_counts([estimate(config) for config in configs]) == (2 * 13, 0)
