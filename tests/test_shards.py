"""A stage's requests shared by processes of their own, on the lab: the bytes of one process, whatever is killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lidr import processes
from lidr.children import REFUSED
from lidr.compose import compose_run
from lidr.config import Accelerator, RunConfig, read_config
from lidr.engines.base import Request
from lidr.errors import LidrError, StageError
from lidr.execute import ensure
from lidr.models import torch_device
from lidr.shards import Shards, _environment
from lidr.stages import Stage, StageKind, parse_stage
from lidr.store import RunDirectory
from lidr.supervise import Work
from lidr.synthesis.index import Share
from lidr.training.pairs import read_pairs
from lidr.work import Job, answer_share
from tests.synthesis.make import FakeEngine, KilledError

pytestmark = pytest.mark.xdist_group("shards")
TINY = [
    "experiment=lab", "languages.non_dominant=[es,ru]", "languages.unseen=[]", "prompts.limit=24", "iterations=1",
    "evaluation.lab.prompts.limit=6", "trainer.threads=1", "tracking=none",
]  # fmt: skip
SHARED = [
    Stage(StageKind.RESPONSES, 1),
    Stage(StageKind.TRANSLATIONS, 1),
    Stage(StageKind.EVALUATION, 0),
]


def opened(outputs: Path, *more: str) -> tuple[RunConfig, RunDirectory]:
    config = compose_run([*TINY, f"paths.outputs={outputs}", *more])
    directory = RunDirectory.of(config)
    directory.open(config)
    return config, directory


def answers(run: RunDirectory, stage: Stage) -> dict[str, bytes]:
    folder = run.folder(stage)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.jsonl"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """What one process makes of it."""
    config, directory = opened(tmp_path_factory.mktemp("whole"))
    for stage in [Stage(StageKind.PROMPTS, 1), *SHARED]:
        ensure(stage, config, directory)
    return directory


def before(whole: RunDirectory, outputs: Path, stage: Stage, *more: str) -> tuple[RunConfig, RunDirectory]:
    """A copy of its run as it was before a stage."""
    shutil.copytree(whole.root.parents[1], outputs)
    config, directory = opened(outputs, *more)
    shutil.rmtree(directory.folder(stage))
    return config, directory


@pytest.mark.parametrize("stage", SHARED[1:], ids=lambda stage: stage.kind)
def test_two_processes_give_the_bytes_of_one(whole: RunDirectory, tmp_path: Path, stage: Stage) -> None:
    config, directory = before(whole, tmp_path / "outputs", stage, "engine.processes=2")
    manifest = ensure(stage, config, directory)
    assert answers(directory, stage) == answers(whole, stage)
    assert manifest.outputs == whole.manifest(stage).outputs  # type: ignore[union-attr]
    assert not Shards(directory, stage).root.exists()
    assert all(Shards(directory, stage).log_file(Share(k, 2)).exists() for k in range(2))


def test_the_way_back_is_shared_once_the_way_there_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares in this process; the last one dies on its way back, and one process goes on from what all wrote."""
    started, dying = [], ("1", "1/2")

    def inside(works: Sequence[Work], advance: object) -> None:
        for work in works:
            root, name, *given = work.command[3:]
            options = dict(zip(given[::2], given[1::2], strict=True))
            started.append((options["--round"], options["--shard"]))
            if started[-1] == dying:
                raise KilledError
            run, share = RunDirectory(Path(root)), Share.parse(options["--shard"])
            config = read_config(run.root / "config.yaml")
            answer_share(Job(parse_stage(name), config, run, lambda: None), share, int(options["--round"]))

    def translated(request: Request) -> tuple[str, str]:
        return ("open" if request.key == "p3" else f"T({request.user[-30:-11]})</translated>"), "stop"

    monkeypatch.setattr("lidr.shards.supervise", inside)
    monkeypatch.setattr("lidr.engines.load.load_engine", lambda *_: FakeEngine(lambda r: (r.user, "stop")))
    monkeypatch.setattr("lidr.engines.load.load_translator", lambda *_: FakeEngine(translated))
    stage, pairs = Stage(StageKind.TRANSLATIONS, 1), Stage(StageKind.PAIRS, 1)

    def translate(outputs: Path, *more: str) -> RunDirectory:
        config, directory = opened(outputs, "pairs=round_trip", "prompts.limit=7", *more)
        for each in (Stage(StageKind.PROMPTS, 1), Stage(StageKind.RESPONSES, 1), stage, pairs):
            ensure(each, config, directory)
        return directory

    any_language = "pairs.filters.off_target_chosen=false"
    one = translate(tmp_path / "one", any_language)
    with pytest.raises(KilledError):
        translate(tmp_path / "two", any_language, "engine.processes=2", "engine.batch_size=1")
    # the responses, then the translations: 14 of the 28 back are share 0's, and stand
    assert started == [("0", "0/2"), ("0", "1/2"), ("0", "0/2"), ("0", "1/2"), ("1", "0/2"), dying]
    (shard,) = (tmp_path / "two").rglob("shards")
    assert {p.name.count("-") for p in shard.rglob("*.jsonl")} == {2}
    two = translate(tmp_path / "two", any_language)
    assert answers(two, stage) == answers(one, stage)
    assert len(answers(two, stage)) == 8
    assert two.manifest(stage).counts == {"directions": 8}  # type: ignore[union-attr]
    assert answers(two, pairs) == answers(one, pairs)
    origins = {(p.chosen_origin, p.rejected_origin) for p in read_pairs(two.folder(pairs) / "pairs.jsonl")}
    assert origins == {("en->ru->en", "ru->en"), ("en->es", "es->en->es"), ("en->ru", "ru->en->ru")}


def wait_for(what: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, "the run ended before"
        assert time.monotonic() < end
        time.sleep(0.02)


def starts(run: RunDirectory, number: int) -> list[int]:
    """Process ids of every start of a shard, from the log."""
    log = run.root / "log.txt"
    text = log.read_text() if log.exists() else ""
    return [int(pid) for pid in re.findall(rf"process {number} of the 2 of \S+: started as (\d+)", text)]


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_killed_process_is_started_again_alone_and_another_number_takes_over(
    whole: RunDirectory, tmp_path: Path
) -> None:
    stage = SHARED[0]
    _, directory = before(whole, tmp_path / "outputs", stage)
    shutil.rmtree(directory.folder(SHARED[1]))
    more = [
        f"paths.outputs={tmp_path}/outputs",
        "processes=separate",
        "engine.processes=2",
        "engine.batch_size=1",
    ]
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-m", "lidr", "run", *TINY, *more]
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    own = Shards(directory, stage).folder(Share(0, 2))
    try:
        wait_for(lambda: any(path.stat().st_size for path in own.glob("*.jsonl")), process)
        (first,), (other,) = starts(directory, 0), starts(directory, 1)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len(starts(directory, 0)) == 2, process)
        assert starts(directory, 1) == [other]
    finally:
        process.kill()
        process.wait()
    config, _ = opened(tmp_path / "outputs")
    ensure(stage, config, directory)
    assert answers(directory, stage) == answers(whole, stage)
    assert not any(map(is_alive, [*starts(directory, 0), other]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_process_that_cannot_start_leaves_its_line(
    whole: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, directory = before(whole, tmp_path / "outputs", SHARED[0], "engine.processes=2")
    directory.open(replace(config, trainer=replace(config.trainer, accelerator=Accelerator.CUDA)))
    shards, share = Shards(directory, SHARED[0]), Share(1, 2)
    monkeypatch.setattr(processes, "die_with_parent", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert processes.shard(str(directory.root), SHARED[0].name, share, None) == REFUSED
    line = shards.error_file(share).read_text()
    assert line == "trainer.accelerator: this machine has no CUDA device -> type trainer=cpu"
    assert line in shards.log_file(share).read_text()


def test_the_files_of_a_shard_whose_process_lives_on_are_not_taken(
    whole: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, directory = before(whole, tmp_path / "outputs", SHARED[0])
    shards = Shards(directory, SHARED[0])
    shards.folder(Share(1, 2)).mkdir(parents=True)
    monkeypatch.setattr("lidr.holding._PATIENCE", 0.1)
    with shards.held(1), pytest.raises(StageError, match="an earlier attempt still works as shard 1"):
        ensure(SHARED[0], config, directory)


def test_more_processes_than_gpus_are_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert torch_device(Accelerator.CUDA) == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(LidrError, match=r"process 2 .* there are 2 -> type 2 at most"):
        torch_device(Accelerator.CUDA)


def test_each_process_has_its_device_and_its_cores(
    monkeypatch: pytest.MonkeyPatch, whole: RunDirectory
) -> None:
    trainer = replace(compose_run(TINY).trainer, threads=None)
    monkeypatch.setattr("lidr.machine.cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    environment = _environment(Share(1, 3), trainer)
    assert (environment["LOCAL_RANK"], environment["LOCAL_WORLD_SIZE"]) == ("1", "3")
    assert environment["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in _environment(Share(1, 3), replace(trainer, threads=4))
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert _environment(Share(1, 3), trainer)["OMP_NUM_THREADS"] == "5"
