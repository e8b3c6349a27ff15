"""Two processes on the CPU train what one does: gloo, ddp and fsdp, whole and killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from lidr import jsonl, loop
from lidr.compose import compose_run
from lidr.config import to_yaml
from lidr.training import TrainingJob, reference, train
from tests.training.conftest import MakeJob

pytestmark = pytest.mark.xdist_group("distributed")
VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora.rank": 2},
    "a filler": {"training.global_batch": 5},  # 11 pairs: the last step of an epoch has one
    "several passes": {"training.token_budget": 60, "training.global_batch": 11},
    "padded": {"training.layout": "padded", "training.logits": "chunked"},
    "checkpointing": {"training.checkpointing": "always", "objective.nll_norm": "token"},
    "another reference": {"reference": "initial"},
    "sft": {"objective.name": "sft"},
    "gone on": {"training.epochs": 3},
}
TRAINERS = ("ddp", "fsdp")
CASES = [(trainer, variant) for variant in VARIANTS for trainer in TRAINERS]
Trained = dict[tuple[str, str], TrainingJob]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    agent = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local-addr",
        "127.0.0.1",
        "--nproc-per-node",
        "2",
    ]
    return subprocess.run(
        [sys.executable, *agent, *arguments],
        capture_output=True, text=True, check=False, timeout=300, env=environment(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(make_job: MakeJob, stranger: str, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Every variant by one process here, and by two as ddp and as fsdp."""
    root = tmp_path_factory.mktemp("trained")
    jobs: Trained = {}
    for variant, overrides in VARIANTS.items():
        fields = {"reference": stranger} if "reference" in overrides else {}
        for trainer in ("one", *TRAINERS):
            several = {"trainer.strategy": trainer, "trainer.devices": 2, "processes": "separate"}
            folder = root / f"{trainer} {variant}"
            folder.mkdir()
            job = make_job(folder, {**overrides, **(several if trainer != "one" else {})}, **fields)
            (folder / "config.yaml").write_text(to_yaml(job.config), encoding="utf-8")
            jobs[trainer, variant] = job
        train(jobs["one", variant])
    lines = [
        {
            "root": str(job.folder.parent),
            "policy": job.policy,
            "reference": job.reference,
            "pairs": str(job.pairs),
            "ends_at": 5 if variant == "gone on" else None,
        }
        for (trainer, variant), job in jobs.items()
        if trainer != "one"
    ]
    listed = root / "jobs.jsonl"
    jsonl.write(listed, lines)
    done = torchrun(str(Path(__file__).with_name("train_jobs.py")), str(listed))
    assert done.returncode == 0, done.stderr
    return jobs


@pytest.mark.parametrize(("trainer", "variant"), CASES)
def test_two_processes_give_the_loss_curve_of_one(trained: Trained, trainer: str, variant: str) -> None:
    ours, theirs = (list(jsonl.read(trained[name, variant].metrics)) for name in (trainer, "one"))
    assert len(ours) == len(theirs)
    for record, expected in zip(ours, theirs, strict=True):
        assert record == pytest.approx(expected, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(("trainer", "variant"), CASES)
def test_two_processes_give_the_model_of_one(trained: Trained, trainer: str, variant: str) -> None:
    folders = [trained[name, variant].output for name in (trainer, "one")]
    ours, theirs = ({p.name: p for p in folder.iterdir()} for folder in folders)
    assert ours.keys() == theirs.keys()
    for name, path in ours.items():
        if path.suffix == ".safetensors":
            weights, expected = load_file(path), load_file(theirs[name])
            assert weights.keys() == expected.keys()
            assert max((weights[k] - expected[k]).abs().max().item() for k in weights) < 1e-5
        else:
            assert path.read_bytes() == theirs[name].read_bytes(), name


@pytest.mark.parametrize(("trainer", "variant"), [case for case in CASES if case[1] != "sft"])
def test_the_cached_reference_is_the_same(trained: Trained, trainer: str, variant: str) -> None:
    ours, theirs = (load_file(trained[name, variant].cached_reference) for name in (trainer, "one"))
    assert ours.keys() == theirs.keys() == set(reference.ReferenceLogProbs._fields)
    for name, values in ours.items():
        assert values.tolist() == pytest.approx(theirs[name].tolist(), rel=1e-5)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_training_that_ended_in_between_goes_on_from_its_checkpoint(trained: Trained, trainer: str) -> None:
    """Step 5 is recorded by both attempts, after the checkpoint of step 4."""
    job = trained[trainer, "gone on"]
    timed = [record["step"] for record in jsonl.read(job.folder / "timing.jsonl")]
    assert timed == [1, 2, 3, 4, 5, 5, 6, 7, 8, 9]


def test_only_the_first_process_writes(trained: Trained) -> None:
    for trainer, variant in CASES:
        job, alone = trained[trainer, variant], trained["one", variant]
        assert {p.name for p in job.folder.iterdir()} == {p.name for p in alone.folder.iterdir()}
        steps = [record["step"] for record in jsonl.read(job.metrics)]
        assert steps == list(range(1, len(steps) + 1))


TINY = [
    "experiment=lab", "languages.non_dominant=[es,de]", "languages.unseen=[]", "prompts.limit=10",
    "evaluation=[]", "iterations=1", "training.global_batch=4", "training.checkpoint_steps=3",
    "training.epochs=10", "trainer.threads=1", "tracking=none",
]  # fmt: skip


def command(outputs: Path, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "lidr", "run", *TINY, f"paths.outputs={outputs}", *overrides]


def on(trainer: str) -> list[str]:
    return [
        f"trainer={trainer}",
        "trainer.accelerator=cpu",
        "trainer.precision=fp32",
        "processes=separate",
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by this process alone, never killed."""
    outputs = tmp_path_factory.mktemp("whole") / "outputs"
    loop.run(compose_run([*TINY, f"paths.outputs={outputs}"]))
    return outputs


def untrained(whole: Path, outputs: Path) -> Path:
    """A copy of its run as it was before training; returns the run's folder."""
    shutil.copytree(whole, outputs, ignore=shutil.ignore_patterns("training", "model", "report"))
    return next(outputs.rglob("config.yaml")).parent


def second_process(run: Path) -> int:
    """The process id of rank 1, from its log."""
    found = re.search(r"^\S+ \S+ (\d+) ", (run / "log-1.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return int(found[1])


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_killed_process_is_named_and_the_same_command_goes_on_in_the_other_way(
    whole: Path, tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    run = untrained(whole, outputs)
    training = run / "iteration-1" / "training"
    process = subprocess.Popen(
        command(outputs, *on("ddp")),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    while process.poll() is None and not (training / "last.ckpt").exists():
        time.sleep(0.005)
    assert process.poll() is None, process.stderr
    victim = second_process(run)
    os.kill(victim, signal.SIGKILL)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    last = " ".join(error.split())
    assert "process 1 of the 2 of iteration-1/training ended by signal SIGKILL" in last
    assert "log-1.txt" in last
    assert json.loads((run / "status.json").read_text())["status"] == "failed"
    again = subprocess.run(
        command(outputs, *on("fsdp")), capture_output=True, text=True, check=False, env=environment()
    )
    assert again.returncode == 0, again.stderr
    ours = list(jsonl.read(training / "metrics.jsonl"))
    theirs = list(jsonl.read(next(whole.rglob("iteration-1/training/metrics.jsonl"))))
    assert len(ours) == len(theirs)
    for record, expected in zip(ours, theirs, strict=True):
        assert record == pytest.approx(expected, rel=1e-4, abs=1e-4)
    timed = [record["step"] for record in jsonl.read(training / "timing.jsonl")]
    assert timed.count(1) == 1, "the second attempt went on from the checkpoint"
    assert not alive(victim)
