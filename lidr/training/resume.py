"""The step log and the checkpoint of a training that may be killed at any moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from lidr import jsonl
from lidr.errors import LidrError
from lidr.files import whole_file
from lidr.progress import Advance
from lidr.training.batching import StepBatch
from lidr.training.module import CHECKPOINT_ENTRY

log = logging.getLogger(__name__)


def resumable_step(checkpoint: Path, metrics: Path, key: str) -> int:
    """Optimizer steps a checkpoint has behind it; 0 where there is none to go on from.

    Raises:
        LidrError: the checkpoint is of another training, or cannot be read.
    """
    if not checkpoint.exists():
        return 0
    try:
        # Tensors and plain values only: a checkpoint that names code to run is not read.
        entry = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)[CHECKPOINT_ENTRY]
        made_from, step = str(entry["key"]), int(entry["step"])
    except Exception as error:  # of zip, pickle, torch, or of another content
        raise LidrError(
            f"not a readable checkpoint ({type(error).__name__})",
            where=str(checkpoint),
            instead="delete it and run the same command again: the training starts anew",
        ) from error
    if made_from != key:
        raise LidrError(
            "the checkpoint was trained from other pairs, models or settings",
            where=str(checkpoint),
            instead="delete it to train anew",
        )
    with jsonl.Appender(metrics) as records:
        logged = len(records.kept)
    if logged < step:
        log.warning("%s has %d records, the checkpoint %d steps: training starts anew", metrics, logged, step)
        return 0
    return step


def take_up(checkpoint: Path, metrics: Path, key: str) -> int:
    """Optimizer steps to go on after; the step log is cut back to them."""
    done = resumable_step(checkpoint, metrics, key)
    keep_records(metrics, done)
    return done


def keep_records(metrics: Path, count: int) -> None:
    """Cuts the step log back to its first records, those a checkpoint has behind it."""
    with jsonl.Appender(metrics) as records:
        kept = records.kept
    if len(kept) > count:
        jsonl.write(metrics, kept[:count])


class StepLog(pl.Callback):
    """Appends a record per optimizer step to metrics.jsonl, and moves the progress bar.

    Wall clock goes into a file of its own, from the end of one step to the end of the next: all else is the same
    however often a training was resumed.
    """

    def __init__(self, records: jsonl.Appender, times: jsonl.Appender, advance: Advance) -> None:
        self.records, self.times, self.advance = records, times, advance
        self._last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._last = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: StepBatch,
        batch_idx: int,
    ) -> None:
        record: Mapping[str, Any] = outputs["record"]
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        rate = record["train/tokens"] / seconds if seconds > 0 else 0.0  # a clock may stand still
        self.times.append(
            [{"step": record["step"], "seconds": round(seconds, 6), "tokens_per_second": round(rate, 1)}]
        )
        self.records.append([record])
        self.advance(1)


class LastCheckpoint(pl.Callback):
    """Replaces the one checkpoint every few optimizer steps, atomically; comes after `StepLog`.

    None is written after the last step: the model folder follows at once.
    """

    def __init__(self, path: Path, every: int, steps: int) -> None:
        self.path, self.every, self.steps = path, every, steps

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: StepBatch,
        batch_idx: int,
    ) -> None:
        done = batch.step + 1
        if done % self.every or done == self.steps:
            return
        # Several ranks gather it together; the first writes.
        with whole_file(self.path) if trainer.is_global_zero else nullcontext(self.path) as temporary:
            trainer.save_checkpoint(temporary, weights_only=False)
