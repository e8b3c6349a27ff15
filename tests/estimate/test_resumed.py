"""A run of the lab that is partly done: only what is left counts, and what is stored teaches."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import RunConfig
from lidr.estimate import Estimate, Need, Range, estimate
from lidr.estimate.counting import counter_of
from lidr.loop import run
from lidr.stages import Stage, StageKind
from lidr.store import MANIFEST, RunDirectory

pytestmark = pytest.mark.xdist_group("estimate")
SMALL = [
    "experiment=lab",
    "iterations=1",
    "prompts.limit=6",
    "languages.non_dominant=[es]",
    "languages.unseen=[]",
    "evaluation.lab.prompts.limit=4",
    "training.global_batch=2",
    "tracking=none",
]
TRANSLATIONS, PAIRS = Stage(StageKind.TRANSLATIONS, 1), Stage(StageKind.PAIRS, 1)


def config(outputs: Path, *overrides: str) -> RunConfig:
    return compose_run([*SMALL, f"paths.outputs={outputs}", *overrides])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs folder of a finished run."""
    outputs = tmp_path_factory.mktemp("outputs")
    run(config(outputs))
    return outputs


@pytest.fixture
def outputs(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "outputs")
    return tmp_path / "outputs"


def needs(found: Estimate) -> dict[str, Need]:
    return {e.stage.name: e.need for e in found.stages}


def undo(directory: RunDirectory, *stages: Stage) -> None:
    for stage in stages:
        (directory.folder(stage) / MANIFEST).unlink()


def test_nothing_is_left_of_a_finished_run(finished: Path) -> None:
    found = estimate(config(finished))
    assert all(each.state.is_done for each in found.stages)
    assert found.total == Need()


def test_expected_and_actual_tokens_are_close(finished: Path, tmp_path: Path) -> None:
    """The lab's answers are those of its own solutions, near enough."""
    directory = RunDirectory.of(config(finished))
    expected = needs(estimate(config(tmp_path)))
    for kind in (StageKind.RESPONSES, StageKind.EVALUATION):
        stage = Stage(kind, 1)
        records = [r for p in directory.folder(stage).rglob("e?.jsonl") for r in jsonl.read(p)]
        assert expected[stage.name].requests == Range.exact(len(records))
        tokens = sum(r["tokens"] for r in records)
        assert expected[stage.name].answer_tokens.expected == pytest.approx(tokens, rel=0.1)
    written = sum(p.stat().st_size for p in (directory.iteration(1) / "responses").glob("e?.jsonl"))
    size = expected["iteration-1/responses"].bytes
    assert size is not None
    assert size.expected == pytest.approx(written, rel=0.1)
    records = [r for p in directory.folder(TRANSLATIONS).glob("*.jsonl") for r in jsonl.read(p)]
    written = counter_of(config(finished).model).texts([r["translation"] or "" for r in records])
    closed = written.expected + len(records)
    assert expected[TRANSLATIONS.name].answer_tokens.expected == pytest.approx(closed, rel=0.15)
    model = sum(p.stat().st_size for p in (directory.iteration(1) / "model").iterdir())
    training = expected["iteration-1/training"].bytes
    assert training is not None
    assert training.expected == pytest.approx(model, rel=0.02)


def test_translations_of_stored_answers_are_counted_exactly(outputs: Path) -> None:
    made = config(outputs)
    directory = RunDirectory.of(made)
    undo(directory, TRANSLATIONS)
    path = directory.folder(TRANSLATIONS) / "en-es.jsonl"
    records = list(jsonl.read(path))
    jsonl.write(path, records[:2])
    need = needs(estimate(made))[TRANSLATIONS.name]
    responses = jsonl.read(directory.folder(Stage(StageKind.RESPONSES, 1)) / "en.jsonl")
    sent = [r for r in list(responses)[2:] if r["response"].strip() and r["finish_reason"] == "stop"]
    assert need.requests == Range.exact(len(sent))
    assert need.prompt_tokens.is_exact
    (state,) = [e.state for e in estimate(made).stages if e.stage == TRANSLATIONS]
    assert str(state) == "begun, 8 records"


def test_pairs_that_are_there_are_counted_exactly(outputs: Path) -> None:
    made = config(outputs)
    directory = RunDirectory.of(made)
    training = Stage(StageKind.TRAINING, 1)
    counts = json.loads((directory.folder(training) / MANIFEST).read_text())["counts"]
    undo(directory, training)
    need = needs(estimate(made))[training.name]
    assert need.pairs == Range.exact(counts["pairs"])
    assert need.training_tokens == Range.exact(counts["tokens"])


def test_steps_behind_a_checkpoint_are_not_counted(outputs: Path) -> None:
    made = config(outputs, "training.checkpoint_steps=2")
    directory = RunDirectory.of(config(outputs))
    renamed = RunDirectory.of(made).root
    directory.root.rename(renamed)
    training = Stage(StageKind.TRAINING, 1)
    folder = renamed / training.name
    manifest = folder / MANIFEST
    whole = json.loads(manifest.read_text())["counts"]
    manifest.unlink()
    (folder / "last.ckpt").touch()
    steps = list(jsonl.read(folder / "metrics.jsonl"))
    jsonl.write(folder / "metrics.jsonl", steps[:3])  # a checkpoint at 2, killed after 3
    need = needs(estimate(made))[training.name]
    assert need.training_tokens.expected == pytest.approx(whole["tokens"] * (1 - 2 / len(steps)))


def test_a_stage_of_other_values_is_refused_and_warned_of(outputs: Path) -> None:
    directory = RunDirectory.of(config(outputs))
    other = RunDirectory.of(config(outputs, "seed=1"))
    directory.root.rename(other.root)
    found = estimate(config(outputs, "seed=1"))
    assert found.stages[0].state.progress == "refused"
    assert any("iteration-0/evaluation is refused" in line for line in found.warnings)


def test_a_run_beside_it_teaches_lengths_and_kept_pairs(outputs: Path) -> None:
    known = config(outputs)
    directory = RunDirectory.of(known)
    beside = estimate(config(outputs, "seed=7", "training.lr=1e-5"))
    assert beside.answers == "stored answers"
    need = needs(beside)["iteration-1/responses"]
    tokens = [
        r["tokens"] for c in ("en", "es") for r in jsonl.read(directory.iteration(1) / f"responses/{c}.jsonl")
    ]
    assert need.answer_tokens.expected == pytest.approx(sum(tokens))
    assert need.answer_tokens.low < sum(tokens) < need.answer_tokens.high
    audit = json.loads((directory.folder(PAIRS) / "audit.json").read_text())
    assert needs(beside)["iteration-1/training"].pairs.expected == pytest.approx(audit["kept"])


@pytest.mark.parametrize(
    "other",
    ["engine.sampling.max_new_tokens=50", "model.system_prompt=Hi", "prompts.instruction='{prompt}!'"],
)
def test_a_run_that_asked_otherwise_teaches_nothing(outputs: Path, other: str) -> None:
    found = estimate(replace(config(outputs, other), evaluation={}))
    assert found.answers == "the lab's solutions"


def test_a_broken_run_beside_it_is_passed_over(outputs: Path) -> None:
    directory = RunDirectory.of(config(outputs))
    for code in ("en", "es"):
        (directory.iteration(1) / "responses" / f"{code}.jsonl").write_text("torn")
        for t in (0, 1):
            (directory.iteration(t) / "evaluation" / "lab" / f"{code}.jsonl").unlink()
    (directory.folder(PAIRS) / "audit.json").write_text("[]")
    assert estimate(config(outputs, "seed=7")).answers == "the lab's solutions"
    (directory.root / "config.yaml").write_text("nonsense: 1")
    assert estimate(config(outputs, "seed=7")).answers == "the lab's solutions"
