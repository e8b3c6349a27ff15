"""Stages that several runs need are computed once, and every run is whole by itself."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lidr import sharing, work
from lidr.config import RunConfig
from lidr.execute import ensure
from lidr.files import write_text
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from tests.changed import base, changed
from tests.pretended import Made, compute, no_wait, pretend

SMALL = ["experiment=lab", "prompts.limit=4", "iterations=1", "languages.non_dominant=[es]", "tracking=none",
         "evaluation.lab.prompts.limit=4"]  # fmt: skip
PAIRS, RESPONSES = Stage(StageKind.PAIRS, 1), Stage(StageKind.RESPONSES, 1)
TRAINING = Stage(StageKind.TRAINING, 1)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    return pretend(monkeypatch)


def config(outputs: Path, **more: object) -> RunConfig:
    return changed(base(*SMALL), paths__outputs=str(outputs), **more)


def files(run: RunDirectory) -> dict[str, bytes]:
    names = (p for p in run.root.rglob("*") if p.is_file() and p.name != "stage.json")
    return {str(p.relative_to(run.root)): p.read_bytes() for p in names}


def test_a_beta_sweep_generates_translates_and_pairs_once(tmp_path: Path, made: Made) -> None:
    runs = [compute(config(tmp_path, objective__beta=beta)) for beta in (0.1, 0.3, 0.5)]
    evaluations = 1 + 3  # M_0 once, M_1 of each
    assert made == {
        StageKind.RESPONSES: 1,
        StageKind.TRANSLATIONS: 1,
        StageKind.PAIRS: 1,
        StageKind.TRAINING: 3,
        StageKind.EVALUATION: evaluations,
    }
    first, *others = runs
    for run in others:
        manifest = run.manifest(PAIRS)
        assert manifest is not None
        assert manifest.taken_from == str(first.root.relative_to(tmp_path))
        assert manifest.digest() == first.manifest(PAIRS).digest()  # type: ignore[union-attr]
        for name in ("iteration-1/responses/a.jsonl", "iteration-1/responses/timing.jsonl"):
            assert files(run)[name] == files(first)[name]
    assert not list(tmp_path.rglob("*.tmp"))


def test_every_run_can_be_deleted_alone(tmp_path: Path, made: Made) -> None:
    import shutil

    first, second = (compute(config(tmp_path, objective__beta=beta)) for beta in (0.1, 0.3))
    before = files(second)
    shutil.rmtree(first.root)
    assert files(second) == before
    made.clear()
    compute(config(tmp_path, objective__beta=0.3))
    third = compute(config(tmp_path, objective__beta=0.5))
    assert made == {StageKind.TRAINING: 1, StageKind.EVALUATION: 1}
    assert third.manifest(PAIRS).taken_from == str(first.root.relative_to(tmp_path))  # type: ignore[union-attr]


def test_the_same_training_is_done_once_and_its_weights_lie_once_on_the_disk(
    tmp_path: Path, made: Made
) -> None:
    one = compute(config(tmp_path))
    two = compute(config(tmp_path, iterations=2))
    assert made[StageKind.TRAINING] == 2, "M_1 once, M_2 once"
    paths = [run.iteration(1) / "model" / "model.safetensors" for run in (one, two)]
    assert paths[0].stat().st_ino == paths[1].stat().st_ino
    texts = [run.folder(TRAINING) / "a.jsonl" for run in (one, two)]
    assert texts[0].stat().st_ino != texts[1].stat().st_ino, "a text that is edited is one run's alone"


def test_what_differs_is_computed(tmp_path: Path, made: Made) -> None:
    compute(config(tmp_path))
    made.clear()
    compute(config(tmp_path, pairs__en_rejected="all"))
    assert made == {StageKind.PAIRS: 1, StageKind.TRAINING: 1, StageKind.EVALUATION: 1}
    made.clear()
    compute(config(tmp_path, prompts__limit=5))
    assert made[StageKind.RESPONSES] == 1, "other prompts"
    made.clear()
    compute(config(tmp_path, pairs__en_rejected="all", objective__beta=0.3, paths__share=False))
    assert made[StageKind.RESPONSES] == 1, "sharing is off"


def test_translations_there_and_back_are_a_stage_of_their_own(tmp_path: Path, made: Made) -> None:
    translations = Stage(StageKind.TRANSLATIONS, 1)
    plain, both = (config(tmp_path, pairs__control=control) for control in (None, "round_trip"))
    compute(plain)
    made.clear()
    compute(both)
    alike = {StageKind.PAIRS: 1, StageKind.TRAINING: 1, StageKind.EVALUATION: 1}
    assert made == alike | {StageKind.TRANSLATIONS: 1}
    values = translations.config_values(plain)
    assert translations.config_values(both) == values | {"pairs.control": "round_trip"}
    assert translations.config_values(config(tmp_path, pairs__control="swapped")) == values
    assert translations.config_values(changed(both, pairs__en_rejected="all")) == values | {
        "pairs.control": "round_trip"
    }


def test_an_evaluation_depends_on_the_pairs_behind_its_model(tmp_path: Path, made: Made) -> None:
    """Other pairs may lead to the same model, yet their reward accuracy is another."""
    own = config(tmp_path)
    run = compute(own)
    evaluation = Stage(StageKind.EVALUATION, 1)
    before = sharing.key(evaluation, own, run)
    path = run.folder(PAIRS) / "a.jsonl"
    write_text(path, "other\n")
    manifest = run.manifest(PAIRS)
    assert manifest is not None
    run.finish(PAIRS, manifest.config, manifest.inputs, [path], manifest.counts, 0.0)
    assert sharing.key(evaluation, own, run) != before


@pytest.mark.parametrize("fault", ["changed", "gone", "a link", "no manifest", "another manifest"])
def test_what_is_no_longer_as_it_was_finished_is_not_taken(tmp_path: Path, made: Made, fault: str) -> None:
    first = compute(config(tmp_path))
    path = first.folder(RESPONSES) / "a.jsonl"
    if fault == "changed":
        path.write_bytes(path.read_bytes()[::-1])
    elif fault == "no manifest":
        (first.folder(RESPONSES) / "stage.json").unlink()
    elif fault == "another manifest":
        manifest = first.manifest(RESPONSES)
        assert manifest is not None
        first.finish(RESPONSES, manifest.config | {"seed": 9}, manifest.inputs, [path], {}, 0.0)
    else:
        moved = path.rename(tmp_path / "elsewhere")
        if fault == "a link":
            path.symlink_to(moved)
    made.clear()
    second = compute(config(tmp_path, objective__beta=0.3))
    assert made[StageKind.RESPONSES] == 1
    assert second.manifest(RESPONSES).taken_from is None  # type: ignore[union-attr]
    assert not list(second.root.rglob("*.tmp"))


@pytest.mark.parametrize("entry", ["{", '{"runs": ["../outside"]}', '{"runs": ["nowhere"]}', "[]"])
def test_an_entry_that_names_nothing_is_passed_over(tmp_path: Path, made: Made, entry: str) -> None:
    outputs = tmp_path / "outputs"
    compute(config(outputs)).root.rename(tmp_path / "outside")
    for path in (outputs / ".stages").glob("*.json"):
        path.write_text(entry)
    made.clear()
    compute(config(outputs, objective__beta=0.3))
    assert made[StageKind.RESPONSES] == 1


def test_a_copy_that_fails_leaves_what_was_there(
    tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute(config(tmp_path))
    own = config(tmp_path, objective__beta=0.3)
    run = RunDirectory.of(own)
    ensure(Stage(StageKind.PROMPTS, 1), own, run)
    run.folder(RESPONSES).mkdir()
    (run.folder(RESPONSES) / "begun.jsonl").write_text("1\n")

    def refuse(source: Path, target: Path) -> None:
        target.write_text("half")
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sharing.shutil, "copyfile", refuse)
    with sharing.once(RESPONSES, own, run, no_wait) as taken:
        assert not taken
        assert [p.name for p in run.folder(RESPONSES).iterdir()] == ["begun.jsonl"]
        assert not list(run.root.rglob("*.tmp"))
        ensure(RESPONSES, own, run)


def test_a_failed_computation_is_nobodys_result(tmp_path: Path, made: Made) -> None:
    own, other = config(tmp_path), config(tmp_path, objective__beta=0.3)
    runs = [RunDirectory.of(c) for c in (own, other)]
    for c, run in zip((own, other), runs, strict=True):
        ensure(Stage(StageKind.PROMPTS, 1), c, run)
    with pytest.raises(RuntimeError), sharing.once(RESPONSES, own, runs[0], no_wait):
        raise RuntimeError("the engine")
    with sharing.once(RESPONSES, other, runs[1], no_wait) as taken:
        assert not taken
        ensure(RESPONSES, other, runs[1])


def test_jobs_side_by_side_compute_a_stage_once(
    tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_POLL_SECONDS", 0.01)
    configs = [config(tmp_path, objective__beta=beta) for beta in (0.1, 0.3, 0.5)]
    waited: list[str] = []
    plain = work._WORK[StageKind.RESPONSES]
    begun = threading.Event()

    def slow(job: work.Job) -> work.Outcome:
        begun.set()
        time.sleep(0.2)
        return plain(job)

    monkeypatch.setitem(work._WORK, StageKind.RESPONSES, slow)
    threads = [threading.Thread(target=compute, args=(c, waited.append)) for c in configs]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join()
    assert (made[StageKind.RESPONSES], made[StageKind.TRANSLATIONS], made[StageKind.TRAINING]) == (1, 1, 3)
    assert str(RunDirectory.of(configs[0]).root.relative_to(tmp_path)) in waited


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def hold(lock: Path) -> subprocess.Popen[str]:
        code = "import filelock, sys, time; lock = filelock.FileLock(sys.argv[1]); lock.acquire()"
        code += "; print('held', flush=True); time.sleep(60)"
        process = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        started.append(process)
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_the_key_of_a_killed_process_is_taken_over(
    tmp_path: Path,
    made: Made,
    holder: Callable[[Path], subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "_POLL_SECONDS", 0.01)
    own = config(tmp_path)
    run = RunDirectory.of(own)
    ensure(Stage(StageKind.PROMPTS, 1), own, run)
    folder = tmp_path / sharing.FOLDER
    folder.mkdir()
    process = holder(folder / f"{sharing.key(RESPONSES, own, run)}.lock")
    waited: list[str] = []

    def kill(owner: str) -> None:
        waited.append(owner)
        process.kill()

    with sharing.once(RESPONSES, own, run, kill) as taken:
        assert not taken
        ensure(RESPONSES, own, run)
    assert waited == ["another run"]
    assert made[StageKind.RESPONSES] == 1
