"""Trains jobs one after the other, in each of the processes that torchrun starts: a line of JSON each.

A job that `ends_at` a step is ended after it in every process, and started again.
"""

import json
import logging
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

from lidr.config import read_config
from lidr.importing import importing

with importing():
    import torch

    from lidr.training import TrainingJob, resume, train


class Ended(BaseException):
    pass


def ending_at(step: int) -> Any:
    """`LastCheckpoint`, which every process has, ends the training behind a step."""
    real = resume.LastCheckpoint.on_train_batch_end

    def end(self: Any, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        real(self, trainer, module, outputs, batch, batch_idx)
        if batch.step + 1 == step:
            raise Ended

    return mock.patch.object(resume.LastCheckpoint, "on_train_batch_end", end)


logging.basicConfig(level=logging.WARNING)
torch.set_num_threads(1)
for line in Path(sys.argv[1]).read_text().splitlines():
    values = json.loads(line)
    root = Path(values["root"])
    config = read_config(root / "config.yaml")
    pairs, policy, reference = Path(values["pairs"]), values["policy"], values["reference"]
    job = TrainingJob(config, 1, policy, reference, pairs, None, root / "model", root / "training")
    if values["ends_at"] is not None:
        with suppress(Ended), ending_at(values["ends_at"]):
            train(job)
    train(job)
