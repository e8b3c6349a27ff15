"""Gradient checkpointing and compilation, block by block."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

log = logging.getLogger(__name__)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The repeated layers of a decoder, in order."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def prepare(model: nn.Module, *, checkpointing: bool, compiled: bool) -> None:
    """Changes how each block runs, in place.

    Checkpointing here works in evaluation mode too, where transformers' own is silently off: the policy stays in
    it to keep dropout off. Blocks compile once for all lengths.
    """
    if not (checkpointing or compiled):
        return
    found = blocks(model)
    if not found:
        log.warning("%s has no blocks to checkpoint or compile", type(model).__name__)
    for block in found:
        forward: Any = block.forward
        if compiled:
            forward = torch.compile(forward, dynamic=True)
        if checkpointing:
            forward = partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=False)
        block.forward = forward
