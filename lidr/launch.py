"""Starts the processes of a training on several devices, one a device, and ends all where one ends.

torch's elastic agent does it for the devices of one node: `python -m lidr.launch DEVICES RUN STAGE PARENT`.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from lidr.children import die_with_parent, ended
from lidr.config import TrainerConfig
from lidr.errors import StageError
from lidr.files import write_text
from lidr.logs import logging_to
from lidr.stages import Stage, StageKind, parse_stage
from lidr.store import RunDirectory

log = logging.getLogger(__name__)


def error_file(run: RunDirectory, stage: Stage, rank: int = 0) -> Path:
    """Where a process of a stage leaves its error for the process that started it."""
    return run.iteration(stage.iteration) / f"{stage.kind}.error-{rank}.tmp"


def error_files(run: RunDirectory, stage: Stage) -> list[Path]:
    """Those that are there, the first process's first."""
    return sorted(run.iteration(stage.iteration).glob(f"{stage.kind}.error-*.tmp"))


def log_file(run: RunDirectory, rank: int = 0) -> Path:
    """The log of a process; the first one's is the run's."""
    return run.root / (f"log-{rank}.txt" if rank else "log.txt")


def command(run: RunDirectory, stage: Stage, trainer: TrainerConfig) -> list[str]:
    """What starts a stage: one process, or for a training on several devices all of them.

    Raises:
        StageError: there are several nodes and no SLURM to start processes on them.
    """
    work, own = ["-m", "lidr.processes", str(run.root), stage.name], str(os.getpid())
    if stage.kind is not StageKind.TRAINING or trainer.ranks == 1:
        return [sys.executable, *work, "--parent", own]
    if trainer.nodes == 1:
        return [sys.executable, "-m", "lidr.launch", str(trainer.devices), str(run.root), stage.name, own]
    if "SLURM_JOB_ID" in os.environ and shutil.which("srun"):
        # --ntasks, since that of the whole job would count more.
        shape = [
            f"--nodes={trainer.nodes}",
            f"--ntasks={trainer.ranks}",
            f"--ntasks-per-node={trainer.devices}",
        ]
        return ["srun", *shape, "--kill-on-bad-exit=1", sys.executable, *work]
    torchrun = f"torchrun --nnodes {trainer.nodes} --nproc-per-node {trainer.devices}"
    raise StageError(
        f"trainer.nodes={trainer.nodes}, and this is no SLURM job that could start them",
        where=stage.name,
        instead=f"type on every node: {torchrun} --rdzv-backend c10d --rdzv-endpoint <first node>:29500"
        f" {' '.join(work)}; then this command again",
    )


def _consequence(code: int) -> tuple[bool, bool]:
    """Sorts the end that others follow from first: the agent terminates them, or they miss the one that ended."""
    return code == -signal.SIGTERM, code >= 0


def main(devices: int, root: str, name: str, parent: int) -> int:
    """The agent: its exit code is 0 where every process's is."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    die_with_parent(parent)
    run, stage = RunDirectory(Path(root)), parse_stage(name)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # ours says it in a line
    try:
        with TemporaryDirectory() as scratch:
            config = LaunchConfig(
                min_nodes=1,
                max_nodes=1,
                nproc_per_node=devices,
                run_id="lidr",
                rdzv_backend="c10d",
                rdzv_endpoint="127.0.0.1:0",
                local_addr="127.0.0.1",
                max_restarts=0,
                logs_specs=DefaultLogsSpecs(log_dir=scratch),
            )
            elastic_launch(config, sys.executable)(
                "-m", "lidr.processes", root, name, "--parent", str(os.getpid())
            )
    except ChildFailedError as error:
        rank, failure = min(error.failures.items(), key=lambda f: (*_consequence(f[1].exitcode), f[0]))
        what = f"process {rank} of the {devices} of {stage.name}"
        if not error_files(run, stage):
            problem = str(ended(what, failure.exitcode, log_file(run, rank)))
            with logging_to(log_file(run)):
                log.error("%s", problem)
            write_text(error_file(run, stage), problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
