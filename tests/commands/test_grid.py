"""The jobs of a grid that others work at, or that a scheduler ends, through launchers made for the test."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.plugins import Plugins

from lidr.__main__ import main
from lidr.compose import compose_run
from lidr.multirun import launch
from lidr.store import RunDirectory

TINY = ["experiment=lab", "iterations=1", "prompts.limit=4", "evaluation=[]", "languages.non_dominant=[es]",
        "languages.unseen=[]", "tracking=none"]  # fmt: skip


def test_a_job_of_another_process_is_waited_for_and_started_if_it_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an interrupt, where SLURM's jobs go on, and one of them is killed."""
    grid = [*TINY, f"paths.outputs={tmp_path}"]
    left = RunDirectory.of(compose_run([*grid, "seed=0"]))
    other = ExitStack()
    other.enter_context(left.locked())
    left.set_status("running")
    launched: list[list[str]] = []

    class Finishing:
        def launch(self, jobs: list[list[str]], initial_job_idx: int) -> None:
            for job in jobs:
                launched.append([word for word in job if word.startswith("seed=")])
                run = RunDirectory.of(compose_run(job))
                run.root.mkdir(parents=True, exist_ok=True)
                run.set_status("done")

    monkeypatch.setattr(Plugins, "instantiate_launcher", lambda self, **_: Finishing())
    monkeypatch.setattr("lidr.commands.sweep.time.sleep", lambda _: other.close())
    monkeypatch.setattr("lidr.report.sweep_tables", lambda _: ())
    assert main(["run", "-m", *grid, "seed=0,1"]) == 0
    shown = capsys.readouterr()
    assert "1 jobs are run by other processes" in shown.err + shown.out
    assert "2 ok, 0 failed, 0 skipped" in shown.out
    assert launched == [["seed=1"], ["seed=0"]]


class _Submitted:
    """As submitit's `Job`."""

    def __init__(self, job_id: str, error: BaseException | None) -> None:
        self.job_id, self.error, self.is_read = job_id, error, False

    def results(self) -> list[str]:
        self.is_read = True
        if self.error:
            raise self.error
        return ["result"]


class _SubmittedToSlurm(_Submitted):
    pass


def _submitit(jobs: list[_Submitted], monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher that reads results as submitit's does."""

    class Launcher:
        def launch(self, overrides: object, initial_job_idx: int) -> list[str]:
            return [job.results()[0] for job in jobs]

    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(Job=_Submitted, SlurmJob=_SubmittedToSlurm))
    monkeypatch.setattr(Plugins, "instantiate_launcher", lambda self, **_: Launcher())


def test_the_scheduler_ends_one_job_and_the_others_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = _Submitted.results
    jobs = [
        _Submitted("7_0", OSError("cancelled")),
        _Submitted("7_1", OSError("too late")),
        _Submitted("7_2", None),
    ]
    _submitit(jobs, monkeypatch)
    with pytest.raises(OSError, match="cancelled"):
        launch([*TINY, f"paths.outputs={tmp_path}"], [["seed=0"], ["seed=1"], ["seed=2"]], print)
    assert all(job.is_read for job in jobs)
    assert _Submitted.results is read


def test_an_interrupt_names_the_jobs_that_slurm_goes_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _submitit([_SubmittedToSlurm("17_0", KeyboardInterrupt())], monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        launch([*TINY, f"paths.outputs={tmp_path}"], [["seed=0"]], print)
    assert caplog.messages == ["SLURM's job 17 goes on; scancel 17 ends it"]
