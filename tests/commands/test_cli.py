"""The command line as a user meets it, in processes of its own."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins

from lidr import work
from lidr.__main__ import main
from lidr.config import RunConfig
from lidr.lab import build
from lidr.lab.world import problems
from lidr.stages import StageKind

TINY = ["experiment=lab", "iterations=1", "prompts.limit=4", "evaluation=[]", "languages.non_dominant=[es]",
        "languages.unseen=[]", "tracking=none"]  # fmt: skip


@pytest.fixture(autouse=True)
def as_quiet_as_before() -> Iterator[None]:
    """`lidr run` shows its log on the terminal, from then on."""
    logger = logging.getLogger("lidr")
    handlers, level = logger.handlers, logger.level
    yield
    logger.handlers = handlers
    logger.setLevel(level)


def lidr(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lidr", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_help_answers_at_once_and_imports_nothing_heavy() -> None:
    started = time.perf_counter()
    done = lidr("--help")
    assert time.perf_counter() - started < 1.0
    assert "lidr run experiment=lab" in done.stdout
    code = (
        "import sys; from lidr.__main__ import main; main([]); print({'torch', 'hydra'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1] == "set()"


def test_whoever_asks_a_server_or_judges_by_one_waits_for_no_torch() -> None:
    modules = (
        "lidr.commands.judge, lidr.judging.run, lidr.engines.load, lidr.engines.openai, lidr.evaluation.run"
    )
    code = f"import sys, {modules}; print({{'torch', 'transformers'}} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_run_help_lists_every_group_and_experiment() -> None:
    text = lidr("run", "--help").stdout
    for line in ("model: lab, llama2_7b, llama3_8b, qwen2_7b, smollm2_135m",
                 "experiment: alignment_tax, alpagasus_llama3_8b, alpagasus_smollm2, e10_iterations,",
                 "objective: dpo, ipo, sft, simpo", "sweep: beta",
                 "evaluation: arc, fidelity, fidelity_asked, fidelity_short, global_mmlu, gsm8k,",
                 "scale: lab, paper", "debug: quick", "trainer: cpu, ddp, fsdp, gpu"):  # fmt: skip
        assert line in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "experiment=lba"],
        ["run", "objective.betta=1"],
        ["run", "+objective.betta=1"],
        ["run", "-m", "objective.beta=0.1,high"],
        ["run", "-m", "trainer=ddp", "seed=1,2"],
        ["run", "sweep=beta", "trainer=fsdp"],
        ["run", "-m", "trainer=gpu", "engine.processes=2", "seed=1,2"],
        ["run", "trainer=ddp", "processes=inline"],
        ["check", "iterations=two"],
        ["run", "experiment=lab", "prompts.limit=99999"],
        ["run", "-m", "experiment=lab", "prompts.limit=4,99999"],
        ["check", "prompts=alpagasus", "evaluation=[]", "prompts.root=/nowhere"],
        ["run", "model.path=./nowhere"],
    ],
)
def test_a_mistake_is_a_line_and_starts_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, f"paths.outputs={tmp_path}/outputs"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "->" in line
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_a_line_of_the_process_too(tmp_path: Path) -> None:
    done = lidr("run", "objective.betta=1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "objective.betta=1: unknown key -> did you mean 'beta'?\n"
    assert list(tmp_path.iterdir()) == []


def test_check_shows_configuration_and_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *TINY, "evaluation=[lab]", f"paths.outputs={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    for text in ("beta: 0.1", "4 prompts x 2 languages = 8 responses", "iteration-0/evaluation", "to do"):
        assert text in shown
    assert list(tmp_path.iterdir()) == []


def test_status_and_report_of_no_run_say_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("status", "report"):
        assert main([command, str(tmp_path)]) == 1
        assert "outputs/lab" in capsys.readouterr().err


@pytest.mark.xdist_group("multirun")
def test_a_failed_job_stops_no_other_and_the_same_command_redoes_only_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = "objective.beta=0.3"
    broken = True
    train = work._WORK[StageKind.TRAINING]

    def training(job: work.Job) -> work.Outcome:
        if broken and job.config.objective.beta == 0.3:
            raise ArithmeticError("not today")
        return train(job)

    monkeypatch.setitem(work._WORK, StageKind.TRAINING, training)
    grid = ["run", "-m", *TINY, "objective.beta=0.1,0.3,0.5", f"paths.outputs={tmp_path}"]
    assert main(grid) == 1
    shown = capsys.readouterr()
    assert "2 ok, 1 failed, 0 skipped" in shown.out
    assert "Traceback" not in shown.err
    (failed,) = (p.parent for p in tmp_path.rglob("status.json") if "failed" in p.read_text())
    log = (failed / "log.txt").read_text()
    assert "Traceback" in log
    assert "ArithmeticError: not today" in log
    before = {
        path: path.stat().st_mtime_ns
        for path in tmp_path.rglob("iteration-*/**/*")
        if failed not in path.parents
    }
    assert main(["status", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 done, 1 failed"
    broken = False
    assert main(grid) == 0
    assert "1 ok, 0 failed, 2 skipped" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert crash.partition("=")[2] in (failed / "config.yaml").read_text()


def test_a_launcher_that_dies_leaves_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As joblib does when the system kills one of its processes."""

    class Dead:
        def launch(self, jobs: object, initial_job_idx: int) -> None:
            raise OSError("a worker was terminated")

    monkeypatch.setattr(Plugins, "instantiate_launcher", lambda self, **_: Dead())
    assert main(["run", "-m", *TINY, "seed=0,1", f"paths.outputs={tmp_path}"]) == 1
    shown = capsys.readouterr()
    assert "0 ok, 0 failed, 0 skipped, 2 not started" in shown.out
    assert "Traceback" in (tmp_path / "lab" / "launcher.log").read_text()
    assert main(["status", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 to do"


def test_an_error_before_a_jobs_first_stage_is_in_its_own_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(config: RunConfig) -> None:
        raise ValueError("what nobody expected")

    monkeypatch.setattr("lidr.loop.preflight", refuse)
    assert main(["run", "-m", *TINY, "seed=0,1", f"paths.outputs={tmp_path}"]) == 1
    assert "0 ok, 2 failed, 0 skipped" in capsys.readouterr().out
    logs = [path.read_text() for path in tmp_path.rglob("log.txt")]
    assert len(logs) == 2
    assert all("Traceback" in log and "what nobody expected" in log for log in logs)


def test_lab_build_writes_a_model_and_prints_its_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "problems", lambda split: problems(split)[:2])
    assert main(["lab", "build", "--steps", "1", "--output", str(tmp_path / "m0")]) == 0
    shown = capsys.readouterr().out
    assert "exact from en" in shown
    assert json.loads((tmp_path / "m0" / "build.json").read_text())["sha256"] in shown
    assert (tmp_path / "m0" / "model.safetensors").exists()
