"""``lidr run -m``: the jobs of a grid, those that are missing."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lidr.config import Accelerator, RunConfig
from lidr.config.labels import run_labels
from lidr.console import console
from lidr.errors import ConfigError, LidrError
from lidr.evaluation.scores import Score
from lidr.execute import done
from lidr.logs import logging_to
from lidr.preflight import preflight
from lidr.printable import inert
from lidr.stages import stages
from lidr.store import RunDirectory
from lidr.tracking.keys import score_key

log = logging.getLogger(__name__)
_MEAN, _HEADLINES = "mean-non-dominant", ("accuracy", "on_target")
_EVERY = 2.0  # seconds between two looks at the jobs of others
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
    """Runs a grid, or a search: every job is validated before the first starts; a failed one stops no other.

    Returns:
        0 where every job is done.
    """
    from lidr.compose import compose_search, compose_sweep

    proposed = compose_search(overrides)
    if proposed is not None:
        _refuse(proposed)
        return _search(overrides, proposed[0])
    composed = compose_sweep(overrides)
    _refuse([config for _, config in composed])
    jobs = [_job(words, config) for words, config in composed]
    missing = [job for job in jobs if not job.was_done]
    log.info("%d jobs, %d of them done before", len(jobs), len(jobs) - len(missing))
    for job in missing:
        _announce(job)
    _run_missing(overrides, missing)
    return _end(jobs)


def _refuse(configs: Sequence[RunConfig]) -> None:
    """What can be known to fail before anything runs."""
    _refuse_several_devices(configs)
    for config in configs:
        preflight(config)


def _search(overrides: Sequence[str], config: RunConfig) -> int:
    """Jobs that a sweeper proposes; those it proposed before are found done."""
    from lidr.compose import compose_run
    from lidr.multirun import SearchEndedError, search

    started = time.time()
    try:
        proposed = search(overrides, run_trial)
    except SearchEndedError as error:
        proposed = error.proposed
        _launcher_ended(error.__cause__ or error, config)
    configs = [compose_run(words) for words in proposed]
    runs = [RunDirectory.of(each) for each in configs]
    return _end(
        [
            _Job(words, each, run, run.status().status == "done" and run.status().updated < started)
            for words, each, run in zip(proposed, configs, runs, strict=True)
        ]
    )


def _end(jobs: Sequence[_Job]) -> int:
    _show(jobs)
    return 1 if not jobs or {job.result for job in jobs} - {"ok", "skipped"} else 0


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


def _run_missing(overrides: Sequence[str], missing: Sequence[_Job]) -> None:
    """Starts what nobody works at, waits for the rest, and starts what was left unfinished there."""
    elsewhere = [job for job in missing if job.run.state() == "running"]
    _launch(overrides, [job for job in missing if job not in elsewhere])
    _wait_for([job for job in missing if job.run.state() == "running"])
    _launch(overrides, [job for job in elsewhere if job.run.state() in ("killed", "to do")])


def _wait_for(jobs: Sequence[_Job]) -> None:
    """Another command's jobs, or a scheduler's that went on when the command that submitted them was stopped."""
    if jobs:
        log.info("%d jobs are run by other processes: waiting for them", len(jobs))
    while any(job.run.state() == "running" for job in jobs):
        time.sleep(_EVERY)


def _launch(overrides: Sequence[str], jobs: Sequence[_Job]) -> None:
    """What ends a launcher, such as the kill of one of its processes, is no end of the others' results."""
    from lidr.multirun import launch

    if not jobs:
        return
    try:
        launch(overrides, [job.overrides for job in jobs], run_job)
    except LidrError:
        raise
    except Exception as error:
        _launcher_ended(error, jobs[0].config)


def _launcher_ended(error: BaseException, config: RunConfig) -> None:
    path = Path(config.paths.outputs) / config.name / "launcher.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with logging_to(path):
        log.error("the launcher failed", exc_info=error)
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    log.error("the launcher ended early (%s); the traceback is in %s", first, path)


def run_job(values: Any) -> None:
    """One job, in whatever process; its failure is written down in its own run and does not stop the others."""
    from lidr.compose import to_run

    _run(to_run(values))


def run_trial(values: Any) -> float | None:
    """One job of a search, one that is done already for what it came to alone."""
    from lidr.compose import to_run
    from lidr.report import read_scores

    config = to_run(values)
    run = RunDirectory.of(config)
    if not _is_complete(config, run):
        _run(config)
    if run.state() != "done":
        return None
    value = score_of(config, read_scores(run.root))
    if value is None:
        log.error("%s: has no score %s", run.root, config.score or "to search by")
    return value


def score_of(config: RunConfig, scores: Sequence[Score]) -> float | None:
    """What a search goes by: `config.score`, else the first benchmark's accuracy, or on-target rate, of the last model.

    It is that of the non-dominant languages, weighed equally.
    """
    found = {score_key(s): s.value for s in scores if s.iteration == config.iterations}
    if config.score is not None:
        return found.get(config.score)
    names = (f"eval/{name}/{_MEAN}/{metric}" for name in config.evaluation for metric in _HEADLINES)
    return next((found[name] for name in names if name in found), None)


def _run(config: RunConfig) -> None:
    from lidr.logs import show
    from lidr.loop import run as run_loop

    show()
    try:
        run_loop(config)
    except Exception as error:
        _write_down(error, RunDirectory.of(config))


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

    table = Table("values", "result", "run", box=None, header_style="bold")
    labels = run_labels([job.config for job in jobs])
    for job, label in zip(jobs, labels, strict=True):
        error = job.run.status().error if job.result == "failed" else None
        table.add_row(label, f"{job.result}: {error}" if error else job.result, str(job.run.root))
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
