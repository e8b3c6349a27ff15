"""Several processes of one machine that share a stage's requests: each answers its own into files of its own.

Process k of N takes the inputs at the positions k, k + N, ... of every file. Nothing passes between the
processes but what lies in the stage's folder:

    <stage>/<file>.jsonl                    what stood when the processes were started
    <stage>/shards/<k>-of-<N>/<file>.jsonl  what process k has answered since
    <stage>/shards/<k>-of-<N>/error.tmp     why it ended, where it could say so
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from lidr import machine, progress
from lidr.config import Accelerator, EngineConfig, TrainerConfig
from lidr.holding import in_turn
from lidr.stages import Stage
from lidr.store import RunDirectory
from lidr.supervise import Work, supervise
from lidr.synthesis.index import Share
from lidr.synthesis.resume import Job, prepare, rounds, settle

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shards:
    """The processes of a stage and their files."""

    run: RunDirectory
    stage: Stage

    @property
    def root(self) -> Path:
        return self.run.folder(self.stage) / "shards"

    def folder(self, share: Share) -> Path:
        return self.root / f"{share.number}-of-{share.of}"

    def file(self, job: Job, folder: Path) -> Path:
        """A shard's file of what `job` is about."""
        return folder / job.path.relative_to(self.run.folder(self.stage))

    def error_file(self, share: Share) -> Path:
        return self.folder(share) / "error.tmp"

    def log_file(self, share: Share) -> Path:
        return self.run.root / f"log-shard-{share.number}.txt"

    def held(self, share_number: int) -> AbstractContextManager[None]:
        """Keeps other processes from writing as shard k, as `lidr.holding.in_turn`."""
        return in_turn(self.run.root / f".shard-{share_number}.lock", f"shard {share_number}")

    def leftovers(self) -> list[Path]:
        """Folders of shards, of this or of an earlier attempt; nobody writes into them."""
        folders = sorted(self.root.glob("*-of-*"))
        for number in {int(folder.name.partition("-")[0]) for folder in folders}:
            with self.held(number):
                pass
        return folders


def take_over(shards: Shards, jobs: Sequence[Job]) -> None:
    """Moves what an earlier attempt's shards hold, however many they were, into the stage's files."""
    folders = shards.leftovers()
    if folders:
        for job in jobs:
            found = [path for path in (shards.file(job, folder) for folder in folders) if path.exists()]
            if found:
                prepare(job, found)
        log.info("%s: took over the answers of %d processes", shards.stage.name, len(folders))
    _remove(shards)


def share_out(shards: Shards, jobs: Sequence[Job], engine: EngineConfig, trainer: TrainerConfig) -> None:
    """Fills files by `engine.processes` processes and puts all in order; starts none where nothing is left.

    Files whose inputs others of them hold are shared by processes of their own, once those are whole.

    Raises:
        LidrError: as `lidr.synthesis.resume.complete` and `lidr.supervise.supervise`.
    """
    shares = [Share(number, engine.processes) for number in range(engine.processes)]
    for number, part in enumerate(rounds(jobs)):
        left, total = sum(prepare(job, []) for job in part), sum(job.count for job in part)
        if left:
            with progress.bar(shards.stage.name, total, total - left) as advance:
                supervise([_work(shards, share, number, trainer) for share in shares], advance)
        for job in part:
            settle(job, [shards.file(job, shards.folder(share)) for share in shares])
        _remove(shards)


def _remove(shards: Shards) -> None:
    if shards.root.exists():
        shutil.rmtree(shards.root)


def _environment(share: Share, trainer: TrainerConfig) -> dict[str, str]:
    """A CUDA device by LOCAL_RANK; on CPUs a share of the cores, unless threads are configured."""
    variables = dict(os.environ, LOCAL_RANK=str(share.number), LOCAL_WORLD_SIZE=str(share.of))
    if trainer.accelerator is Accelerator.CPU and trainer.threads is None:
        variables.setdefault("OMP_NUM_THREADS", str(max(1, machine.cores() // share.of)))
    return variables


def _work(shards: Shards, share: Share, number: int, trainer: TrainerConfig) -> Work:
    stage = ["-m", "lidr.processes", str(shards.run.root), shards.stage.name]
    part = ["--shard", str(share), "--round", str(number)]
    return Work(
        name=f"process {share.number} of the {share.of} of {shards.stage.name}",
        command=[sys.executable, *stage, *part, "--parent", str(os.getpid())],
        environment=_environment(share, trainer),
        folder=shards.folder(share),
        error_file=shards.error_file(share),
        log_file=shards.log_file(share),
    )
