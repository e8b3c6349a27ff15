"""Stages: skipped where done, refused where the values or files are others, never half believed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidr import work
from lidr.compose import compose_run
from lidr.config import RunConfig
from lidr.errors import LidrError, StageError
from lidr.execute import done, ensure
from lidr.hashing import fingerprint, sha256
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


def test_another_byte_is_found_by_its_hash_and_only_that_is_made_anew(
    config: RunConfig, run: RunDirectory
) -> None:
    ensure(PROMPTS, config, run)
    folder = run.folder(PROMPTS)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    path = folder / "de.jsonl"
    path.write_bytes(before["de.jsonl"].replace(b"a", b"b", 1))
    with pytest.raises(StageError) as error:
        done(PROMPTS, config, run)
    assert str(error.value) == (
        f"{run.root}: iteration-1/prompts/de.jsonl, written by the finished stage iteration-1/prompts, has other"
        f" bytes than it wrote (another SHA-256) -> put it back, or delete {path} and {folder / MANIFEST} and run"
        " the same command again: only that is made anew"
    )
    path.unlink()
    (folder / MANIFEST).unlink()
    ensure(PROMPTS, config, run)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.name != MANIFEST} == {
        name: data for name, data in before.items() if name != MANIFEST
    }


def test_all_files_that_are_damaged_are_named_at_once(config: RunConfig, run: RunDirectory) -> None:
    ensure(PROMPTS, config, run)
    folder = run.folder(PROMPTS)
    (folder / "es.jsonl").unlink()
    (folder / "ru.jsonl").write_bytes(b"")
    with pytest.raises(
        StageError, match=r"es.jsonl, .* is missing; nor as they were: .*ru.jsonl -> .* delete"
    ) as error:
        done(PROMPTS, config, run)
    assert f"delete {folder / 'ru.jsonl'} and {folder / MANIFEST} and run" in str(error.value)
    for code in ("en", "de", "fr"):
        (folder / f"{code}.jsonl").write_bytes(b"")
    with pytest.raises(StageError, match=f"delete {folder} and run"):
        done(PROMPTS, config, run)


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, RunDirectory]:
    outputs = tmp_path_factory.mktemp("prompted")
    config = compose_run(["experiment=lab", "prompts.limit=5", f"paths.outputs={outputs}", "tracking=none"])
    directory = RunDirectory.of(config)
    directory.open(config)
    ensure(PROMPTS, config, directory)
    return config, directory


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_a_manifest_with_another_bit_is_found_or_says_the_same(
    prompted: tuple[RunConfig, RunDirectory], place: float, bit: int
) -> None:
    config, run = prompted
    path = run.folder(PROMPTS) / MANIFEST
    whole, stands = path.read_bytes(), run.manifest(PROMPTS)
    data = bytearray(whole)
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    try:
        assert done(PROMPTS, config, run) == stands
    except StageError as error:
        assert "->" in str(error)  # noqa: PT017  (either is right)
    finally:
        path.write_bytes(whole)


def test_a_manifest_of_an_earlier_version_has_no_check_sum(
    prompted: tuple[RunConfig, RunDirectory],
) -> None:
    config, run = prompted
    path = run.folder(PROMPTS) / MANIFEST
    whole = path.read_text()
    values = json.loads(whole)
    del values["check"]
    path.write_text(json.dumps(values))
    assert done(PROMPTS, config, run) is not None
    path.write_text(whole)


def test_a_file_that_took_anothers_place_is_hashed_anew_whatever_the_clock_says(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"1")
    other.write_bytes(b"2")
    first = sha256(path)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert sha256(path) != first


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


CUT = "a configuration cut in half"
DAMAGE = {
    CUT: r"config\.yaml",
    "no YAML": r"config\.yaml: not a readable configuration",
    "another key": r"config\.yaml: engine\.batch_size: has no value",
    "another value": r"config\.yaml: is of another run \(model\.path: 'builtin:lab' here, 'cuiltin:lab' there\)",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_configuration_may_be_deleted_and_is_written_anew(
    config: RunConfig, run: RunDirectory, damage: str
) -> None:
    path = run.root / "config.yaml"
    whole = path.read_text(encoding="utf-8")
    changed = {
        CUT: whole[: len(whole) // 2],
        "no YAML": "\t" + whole,
        "another key": whole.replace("batch_size", "batch_sixe", 1),
        "another value": whole.replace("builtin:lab", "cuiltin:lab"),
    }
    assert changed[damage] != whole
    path.write_text(changed[damage], encoding="utf-8")
    anew = f"delete {path} and run the same command again: it is written anew"
    with pytest.raises(LidrError, match=DAMAGE[damage]) as raised:
        run.open(config)
    assert str(raised.value).endswith(anew)
    assert path.read_text(encoding="utf-8") == changed[damage], "nothing is touched"
    path.unlink()
    run.open(config)
    assert path.read_text(encoding="utf-8") == whole


def test_a_configuration_of_another_run_is_no_leave_to_take_its_stages(
    config: RunConfig, run: RunDirectory
) -> None:
    ensure(PROMPTS, config, run)
    other = compose_run(["experiment=lab", "prompts.limit=6", f"paths.outputs={run.root}", "tracking=none"])
    (run.root / "config.yaml").unlink()
    run.open(other)
    with pytest.raises(StageError, match=r"was finished with other values \(prompts.limit is 6, was 5"):
        done(PROMPTS, other, run)
