"""Keeps Lightning's global effects and its chatter inside a training."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_LOGGERS = (
    "pytorch_lightning.utilities.rank_zero",
    "lightning.pytorch.utilities.rank_zero",
    "lightning_fabric.utilities.distributed",
)
_WARNINGS = (
    r"Found \d+ module\(s\) in eval mode",  # intended: dropout is off
    r"GPU available but not used",  # trainer.accelerator says so
    r"The `srun` command is available",  # a node of a cluster, where `lidr.launch` knows when srun is wanted
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # between Lightning 2.6 and torch 2.13
    r"`is_gradient_checkpointing` is deprecated",  # between peft 0.21 and transformers 5.23
    r"`broadcast_buffers` is deprecated",  # torch 2.13; torch 2.11 knows no other name
    r"FSDP2-wrapped module .* returned a view tensor",  # nobody writes into the log-probs
)


@contextmanager
def contained() -> Iterator[None]:
    """Silences what is no news, restores global flags, and lets Ctrl+C be a KeyboardInterrupt.

    Lightning turns Ctrl+C into exit code 1 and leaves the signal ignored.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    settings: Any = torch.utils.deterministic
    fills = settings.fill_uninitialized_memory
    deterministic, interrupt = torch.are_deterministic_algorithms_enabled(), signal.getsignal(signal.SIGINT)
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    # Nothing here reads memory before it is written; filling all of it costs some percent of a step.
    settings.fill_uninitialized_memory = False
    try:
        with warnings.catch_warnings():
            for message in _WARNINGS:
                warnings.filterwarnings("ignore", message)
            yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, interrupt)
            raise KeyboardInterrupt from error
        raise
    finally:
        torch.use_deterministic_algorithms(deterministic)
        settings.fill_uninitialized_memory = fills
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
