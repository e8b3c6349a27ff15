"""``lidr run -m``: the jobs of a grid, those that are missing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lidr.config import Accelerator, RunConfig
from lidr.console import console
from lidr.errors import ConfigError, LidrError
from lidr.execute import done
from lidr.logs import logging_to
from lidr.preflight import preflight
from lidr.printable import inert
from lidr.stages import stages
from lidr.store import RunDirectory

log = logging.getLogger(__name__)
_WORDS = {"done": "ok", "to do": "not started", "running": "running elsewhere"}


@dataclass(frozen=True)
class _Job:
    """overrides: what was typed for it. was_done: before this command."""

    overrides: list[str]
    config: RunConfig
    run: RunDirectory
    was_done: bool

    @property
    def result(self) -> str:
        """ok, failed, skipped (done before), not started, or running elsewhere."""
        state = self.run.state()
        return "skipped" if self.was_done and state == "done" else _WORDS.get(state, "failed")


def sweep(overrides: Sequence[str]) -> int:
    """Runs a grid: every job is validated before the first starts; a failed one does not stop the others.

    Returns:
        0 where every job is done.
    """
    from lidr.compose import compose_sweep

    composed = compose_sweep(overrides)
    _refuse_several_devices([config for _, config in composed])
    for _, config in composed:
        preflight(config)
    jobs = [_job(words, config) for words, config in composed]
    missing = [job for job in jobs if not job.was_done]
    log.info("%d jobs, %d of them done before", len(jobs), len(jobs) - len(missing))
    for job in missing:
        _announce(job)
    if missing:
        _launch(overrides, missing)
    _show(jobs)
    return 1 if {job.result for job in jobs} - {"ok", "skipped"} else 0


def _job(words: list[str], config: RunConfig) -> _Job:
    run = RunDirectory.of(config)
    return _Job(words, config, run, _is_complete(config, run))


def _is_complete(config: RunConfig, run: RunDirectory) -> bool:
    """Whether a run is done and all its stages still fit it; one that does not is started, and says why it fails."""
    if run.status().status != "done":
        return False
    try:
        return all(done(stage, config, run) is not None for stage in stages(config))
    except LidrError:
        return False


def _announce(job: _Job) -> None:
    """A job that has no folder yet gets one, for `lidr status`."""
    if not (job.run.root / "status.json").exists():
        job.run.open(job.config)
        job.run.set_status("to do")


def _launch(overrides: Sequence[str], jobs: Sequence[_Job]) -> None:
    """What ends a launcher, such as the kill of one of its processes, is no end of the others' results."""
    from lidr.multirun import launch

    try:
        launch(overrides, [job.overrides for job in jobs], run_job)
    except LidrError:
        raise
    except Exception as error:
        path = Path(jobs[0].config.paths.outputs) / jobs[0].config.name / "launcher.log"
        with logging_to(path):
            log.exception("the launcher failed")
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        log.error("the launcher ended early (%s); the traceback is in %s", first, path)


def run_job(values: Any) -> str:
    """One job, in whatever process; its failure is written down in its own run and does not stop the others."""
    from lidr.compose import to_run
    from lidr.logs import show
    from lidr.loop import run as run_loop

    show()
    config = to_run(values)
    run = RunDirectory.of(config)
    try:
        run_loop(config)
    except Exception as error:
        _write_down(error, run)
    return run.state()


def _write_down(error: Exception, run: RunDirectory) -> None:
    """An error that came before the run's own log was open, else it is there already."""
    if run.state() in ("failed", "running"):
        return
    run.root.mkdir(parents=True, exist_ok=True)
    with logging_to(run.root / "log.txt"):
        log.error("%s", error, exc_info=None if isinstance(error, LidrError) else error)
    run.set_status("failed", error=inert(str(error) or type(error).__name__))


def _refuse_several_devices(configs: Sequence[RunConfig]) -> None:
    """A multirun's jobs may run side by side, on devices that each takes for its own."""
    for config in configs:
        trainer = config.trainer
        if trainer.ranks > 1:
            where = f"trainer.devices={trainer.devices} trainer.nodes={trainer.nodes}"
            raise ConfigError([_several(len(configs), f"train on {trainer.ranks} devices", where)])
        engines = {"engine": config.engine, "translator.engine": config.translator.engine}
        for where, engine in engines.items():
            if engine is not None and engine.processes > 1 and trainer.accelerator is Accelerator.CUDA:
                what = f"answer by {engine.processes} processes with GPUs of their own"
                raise ConfigError([_several(len(configs), what, f"{where}.processes={engine.processes}")])


def _several(jobs: int, what: str, where: str) -> LidrError:
    return LidrError(
        f"{jobs} jobs of one command cannot each {what}",
        where=where,
        instead="type one `lidr run` after the other without -m, or one sbatch for each (docs/distributed.md)",
    )


def _show(jobs: Sequence[_Job]) -> None:
    """A row a job, what the sweep came to, and the counts."""
    from lidr.report import sweep_tables

    table = Table("job", "overrides", "result", "run", box=None, header_style="bold")
    for number, job in enumerate(jobs):
        error = job.run.status().error if job.result == "failed" else None
        result = f"{job.result}: {error}" if error else job.result
        table.add_row(str(number), " ".join(job.overrides), result, str(job.run.root))
    terminal = console()
    terminal.print(table)
    finished = [job.run.root for job in jobs if job.result in ("ok", "skipped")]
    for made in sweep_tables(finished) if finished else ():
        terminal.print("", made)
    counts = Counter(job.result for job in jobs)
    words = ["ok", "failed", "skipped", *(w for w in _WORDS.values() if counts[w] and w != "ok")]
    terminal.print(", ".join(f"{counts[word]} {word}" for word in words), highlight=False)
    if finished:
        folder = Path(jobs[0].config.paths.outputs) / jobs[0].config.name
        terminal.print(f"report  lidr report {folder}", highlight=False, soft_wrap=True)
