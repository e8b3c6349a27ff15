"""Starting the jobs of a grid through one of Hydra's launchers.

Hydra's own multirun would start every job of the grid; here only those that are given are started, which are the ones
that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode

from lidr.compose import hydra_on_project

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
        for start in range(0, len(jobs), size):
            batch = [_own(job) for job in jobs[start : start + size]]
            launcher.launch(batch, initial_job_idx=start)


def _own(job: Sequence[str]) -> list[str]:
    """Without what is Hydra's, which the launcher has from the whole command."""
    return [word for word in job if not word.startswith(("hydra.", "hydra/"))]
