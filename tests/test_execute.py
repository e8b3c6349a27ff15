"""Stages: skipped where done, refused where the values or files are others, never half believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lidr import work
from lidr.compose import compose_run
from lidr.config import RunConfig
from lidr.errors import LidrError, StageError
from lidr.execute import done, ensure
from lidr.hashing import fingerprint
from lidr.stages import Stage, StageKind, parse_stage, stages
from lidr.store import MANIFEST, RunDirectory

PROMPTS = Stage(StageKind.PROMPTS, 1)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return compose_run(["experiment=lab", "prompts.limit=5", f"paths.outputs={tmp_path}", "tracking=none"])


@pytest.fixture
def run(config: RunConfig) -> RunDirectory:
    directory = RunDirectory.of(config)
    directory.open(config)
    return directory


def test_the_plan_of_two_iterations(config: RunConfig) -> None:
    names = [stage.name for stage in stages(config)]
    assert names[:3] == ["iteration-0/evaluation", "iteration-1/prompts", "iteration-1/responses"]
    assert len(names) == 1 + 2 * 6
    assert [parse_stage(name) for name in names] == stages(config)


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(LidrError, match="did you mean 'training'"):
        parse_stage("iteration-1/trainning")


def test_a_stage_runs_once(config: RunConfig, run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ensure(PROMPTS, config, run)
    assert first.counts["prompts"] == 5
    monkeypatch.setattr(work, "_WORK", {})
    assert ensure(PROMPTS, config, run) == first


def test_a_finished_stage_keeps_no_checkpoint(config: RunConfig, run: RunDirectory) -> None:
    run.folder(PROMPTS).mkdir(parents=True)
    (run.folder(PROMPTS) / "last.ckpt").touch()
    manifest = ensure(PROMPTS, config, run)
    assert not (run.folder(PROMPTS) / "last.ckpt").exists()
    assert not any(name.endswith(".ckpt") for name in manifest.outputs)


def test_a_stage_that_fails_is_not_done(
    config: RunConfig, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: work.Job) -> work.Outcome:
        raise RuntimeError("power cut")

    monkeypatch.setitem(work._WORK, StageKind.PROMPTS, fail)
    with pytest.raises(RuntimeError):
        ensure(PROMPTS, config, run)
    assert done(PROMPTS, config, run) is None


def test_a_stage_without_its_input_is_named(config: RunConfig, run: RunDirectory) -> None:
    run.folder(Stage(StageKind.PAIRS, 1)).mkdir(parents=True)
    with pytest.raises(LidrError):
        ensure(Stage(StageKind.PAIRS, 1), config, run)


def test_a_missing_output_is_named_with_what_to_do(config: RunConfig, run: RunDirectory) -> None:
    ensure(PROMPTS, config, run)
    (run.folder(PROMPTS) / "es.jsonl").unlink()
    with pytest.raises(StageError, match=r"iteration-1/prompts/es.jsonl.*is missing.*delete"):
        done(PROMPTS, config, run)


def test_a_truncated_output_is_named(config: RunConfig, run: RunDirectory) -> None:
    ensure(PROMPTS, config, run)
    path = run.folder(PROMPTS) / "de.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StageError, match=r"de.jsonl.*bytes"):
        done(PROMPTS, config, run)


def test_a_broken_manifest_is_named(config: RunConfig, run: RunDirectory) -> None:
    ensure(PROMPTS, config, run)
    (run.folder(PROMPTS) / MANIFEST).write_text("{")
    with pytest.raises(StageError, match="manifest"):
        done(PROMPTS, config, run)


def test_changed_values_inside_a_run_are_refused_with_the_keys(run: RunDirectory, config: RunConfig) -> None:
    ensure(PROMPTS, config, run)
    other = compose_run(["experiment=lab", "prompts.limit=6", f"paths.outputs={config.paths.outputs}"])
    with pytest.raises(StageError, match=r"prompts.limit is 6, was 5"):
        done(PROMPTS, other, run)
    with pytest.raises(LidrError, match=r"prompts.limit: 6 here, 5 there"):
        run.open(other)


def test_two_loops_on_one_run_directory(run: RunDirectory) -> None:
    run.set_status("running")
    named = rf"another process \(pid {os.getpid()} on host .+, since \d{{4}}-.+\) works in this run -> wait"
    with run.locked(), pytest.raises(LidrError, match=named), run.locked():
        pass
    assert run.state() == "killed"
    with run.locked():
        pass


def test_a_fingerprint_follows_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    (tmp_path / "a").write_bytes(b"2")
    second = fingerprint(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, fingerprint(tmp_path)}) == 3


def test_prompts_left_out_are_counted_and_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "en.jsonl").write_text('{"id": "1", "prompt": "a"}\n{"id": "2", "prompt": "b"}\n')
    (tmp_path / "es.jsonl").write_text('{"id": "1", "prompt": "c"}\n{"id": "3", "prompt": ""}\n')
    settings = ["prompts=jsonl", f"prompts.root={tmp_path}", "prompts.on_incomplete=drop", "iterations=1"]
    settings += ["prompts.limit=1", "languages.non_dominant=[es]", f"paths.outputs={tmp_path}/outputs"]
    dropping = compose_run(settings)
    directory = RunDirectory.of(dropping)
    directory.open(dropping)
    with caplog.at_level("WARNING"):
        counts = ensure(PROMPTS, dropping, directory).counts
    assert counts["alignment"]["dropped"] == 2
    assert "2 prompts are not in every language" in caplog.text
    assert "es: 1 missing (2 is at" in caplog.text
