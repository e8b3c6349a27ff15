"""A disk that is full at every write of a stage in turn; `python -m tests.torture.faults` does the same to a run."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError

from lidr import jsonl
from lidr.children import crashed
from lidr.compose import compose_run
from lidr.config import RunConfig
from lidr.errors import FullDiskError, LidrError
from lidr.files import full_disk, unusable, whole_folder, write_text
from lidr.stages import parse_stage
from lidr.store import RunDirectory
from lidr.synthesis import generate
from lidr.training.resume import StepLog
from tests.synthesis.make import SAMPLING, FakeEngine, answer, prompts
from tests.torture.fault_groups import GROUPS
from tests.torture.fault_inside import PLACES
from tests.torture.full_disk import Disk

NO_ROOM = os.strerror(errno.ENOSPC)
RESPONSES = parse_stage("iteration-1/responses")


@pytest.fixture(scope="module")
def run_config() -> RunConfig:
    return compose_run(["experiment=lab", "tracking=none"])


def a_stage(root: Path, config: RunConfig) -> None:
    """A run that begins, answers that are put in order, a model folder, the marks of a stage and of the run."""
    run = RunDirectory(root / "run")
    run.open(config)
    folder = run.folder(RESPONSES)
    generate(prompts(5), FakeEngine(answer), SAMPLING, folder)
    with whole_folder(root / "model") as model:
        (model / "weights").write_bytes(b"w" * 9)
        write_text(model / "config.json", "{}")
    run.finish(RESPONSES, {}, {}, folder.glob("*.jsonl"), {"responses": 10}, 0.0)
    run.set_status("done")


def files(root: Path) -> dict[str, bytes]:
    """All, but of the status, which holds the time, only that it is there."""
    found = {str(p.relative_to(root)): p for p in sorted(root.rglob("*")) if p.is_file()}
    return {name: b"" if name.endswith("status.json") else p.read_bytes() for name, p in found.items()}


def refused(root: Path, config: RunConfig, disk: Disk) -> LidrError | None:
    """The line that a stage ends in."""
    try:
        with disk.mounted():
            a_stage(root, config)
    except FullDiskError as error:
        return error
    except OSError as error:
        return unusable(error)
    return None


@pytest.mark.parametrize("refusals", [None, 1], ids=["from there on", "once"])
def test_no_room_at_any_write_is_a_line_and_the_same_call_ends_in_the_same_bytes(
    tmp_path: Path, run_config: RunConfig, refusals: int | None
) -> None:
    whole = Disk(tmp_path / "whole")
    with whole.mounted():
        a_stage(tmp_path / "whole", run_config)
    assert whole.count > 40
    for number in range(1, whole.count + 1):
        root = tmp_path / str(number)
        problem = refused(root, run_config, Disk(root, number, refusals))
        if refusals is None or problem is not None:  # a folder that is there needs no room
            assert isinstance(problem, FullDiskError), number
            assert f"{root}" in str(problem)
            assert "the disk is full -> make room, then run the same command again" in str(problem)
        assert not list(root.rglob("*.tmp")), number
        a_stage(root, run_config)
        assert files(root) == files(tmp_path / "whole"), number


def written(folder: Path, what: str | Exception) -> None:
    """A model folder with a text, or one whose writing fails in its middle."""
    with whole_folder(folder) as model:
        (model / "a").write_text(str(what))
        if isinstance(what, Exception):
            raise what


def test_what_writes_tensors_says_it_in_words(tmp_path: Path) -> None:
    """As safetensors does: it is written in Rust, and raises an error of its own."""
    said = f"Error while serializing: I/O error: {NO_ROOM} (os error {errno.ENOSPC})"
    with pytest.raises(FullDiskError, match=r"model: the disk is full -> make room"):
        written(tmp_path / "model", SafetensorError(said))
    assert not list(tmp_path.iterdir())
    assert isinstance(crashed("a stage", SafetensorError(said), tmp_path / "log.txt"), FullDiskError)
    for other in (
        SafetensorError("header too large"),
        SafetensorError("(os error 5)"),
        ValueError("(os error x"),
    ):
        assert full_disk(other, tmp_path) is None


def test_a_model_folder_stays_where_the_next_one_finds_no_room(tmp_path: Path) -> None:
    written(tmp_path / "model", "first")
    with pytest.raises(FullDiskError):
        written(tmp_path / "model", OSError(errno.ENOSPC, NO_ROOM))
    assert (tmp_path / "model" / "a").read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_clock_that_stands_still_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: 5.0)
    with jsonl.Appender(tmp_path / "metrics.jsonl") as records, jsonl.Appender(tmp_path / "t.jsonl") as times:
        step_log = StepLog(records, times, lambda _: None)
        step_log.on_train_start(None, None)  # type: ignore[arg-type]
        outputs = {"record": {"step": 1, "train/tokens": 8}}
        step_log.on_train_batch_end(None, None, outputs, SimpleNamespace(), 0)  # type: ignore[arg-type]
    assert list(jsonl.read(tmp_path / "t.jsonl")) == [{"step": 1, "seconds": 0.0, "tokens_per_second": 0.0}]


def test_the_campaign_has_every_kind_of_fault() -> None:
    assert set(GROUPS) == {
        "write", "small-disk", "read-only", "damage", "clock", "memory", "worker", "server", "judge",
    }  # fmt: skip


@pytest.mark.parametrize("target", [target for target, *_ in PLACES.values()])
def test_what_the_campaign_makes_fail_is_there(target: str) -> None:
    owner, _, name = target.rpartition(".")
    assert callable(getattr(resolve_name(owner), name))
