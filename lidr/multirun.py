"""Starting the jobs of a grid through one of Hydra's launchers, or a search through one of its sweepers.

Hydra's own multirun would start every job of a grid; here only those that are given are started, which are the ones
that are missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from lidr.compose import hydra_on_project
from lidr.errors import LidrError

log = logging.getLogger(__name__)
Task = Callable[[Any], Any]


def launch(overrides: Sequence[str], jobs: Sequence[Sequence[str]], task: Task) -> None:
    """Has the launcher that the overrides choose call a task for each job, and waits for all.

    Args:
        overrides: of the whole command, which `lidr.compose.compose_sweep` has found good.
        jobs: the overrides of each job.
        task: called with a job's composed configuration, in whatever process the launcher takes.

    Raises:
        Exception: whatever the launcher raises where it cannot go on.
    """
    with hydra_on_project() as loader:
        config = loader.load_configuration("config", list(overrides), run_mode=RunMode.MULTIRUN)
        context = HydraContext(config_loader=loader, callbacks=Callbacks(config))
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task, config=config
        )
        size = config.hydra.sweeper.get("max_batch_size") or len(jobs)
        with _all_awaited():
            for start in range(0, len(jobs), size):
                batch = [_own(job) for job in jobs[start : start + size]]
                launcher.launch(batch, initial_job_idx=start)


@contextmanager
def _all_awaited() -> Iterator[None]:
    """submitit's launcher leaves at the first job without a result, while the scheduler goes on with the others.

    Here each is waited for, then the first error raised; an interrupt says which of SLURM's jobs go on.
    """
    try:
        from submitit import Job, SlurmJob
    except ImportError:  # so no job is submitit's
        yield
        return
    errors: list[Exception] = []
    read = Job.results

    def results(job: Any) -> list[Any]:
        try:
            outcome: list[Any] = read(job)
        except Exception as error:
            errors.append(error)
            return [None]
        except KeyboardInterrupt:
            if isinstance(job, SlurmJob):
                number = job.job_id.partition("_")[0]
                log.warning("SLURM's job %s goes on; scancel %s ends it", number, number)
            raise
        return outcome

    Job.results = results
    try:
        yield
    finally:
        Job.results = read
    if errors:
        raise errors[0]


def search(overrides: Sequence[str], task: Task) -> list[list[str]]:
    """Has the sweeper that the overrides choose propose jobs until it has enough.

    Args:
        overrides: of the whole command, which `lidr.compose.compose_search` has found good.
        task: as for `launch`; returns what is to be made large or small, None where the job failed.

    Returns:
        The overrides of the jobs it proposed, in order, also where it ended early.

    Raises:
        SearchEndedError: the sweeper or the launcher could not go on.
    """
    with hydra_on_project() as loader:
        config = loader.load_configuration("config", list(overrides), run_mode=RunMode.MULTIRUN)
        context = HydraContext(config_loader=loader, callbacks=Callbacks(config))
        sweeper: Any = Plugins.instance().instantiate_sweeper(
            config=config, hydra_context=context, task_function=task
        )
        proposed: list[list[str]] = []
        sweeper.sweeper.launcher = _Recording(sweeper.sweeper.launcher, proposed)
        try:
            sweeper.sweep(arguments=OmegaConf.to_container(config.hydra.overrides.task, resolve=False))
        except LidrError:
            raise
        except Exception as error:
            raise SearchEndedError(proposed) from error
    return proposed


class SearchEndedError(Exception):
    """What was proposed until then is its argument, its reason the cause."""

    @property
    def proposed(self) -> list[list[str]]:
        jobs: list[list[str]] = self.args[0]
        return jobs


class _Recording:
    """A launcher that remembers what it was asked to launch."""

    def __init__(self, launcher: Launcher, jobs: list[list[str]]) -> None:
        self._launcher, self._jobs = launcher, jobs

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        self._jobs += map(list, job_overrides)
        return self._launcher.launch(job_overrides, initial_job_idx=initial_job_idx)


def _own(job: Sequence[str]) -> list[str]:
    """Without what is Hydra's, which the launcher has from the whole command."""
    return [word for word in job if not word.startswith(("hydra.", "hydra/"))]
