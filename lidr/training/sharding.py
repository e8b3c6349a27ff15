"""FSDP2: every rank holds a share of each block, and gathers a block's weights while it runs."""

from __future__ import annotations

from typing import Any, TypeVar

import pytorch_lightning as pl
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from lidr.training.blocks import blocks

M = TypeVar("M", bound=nn.Module)


def is_sharding(trainer: pl.Trainer) -> bool:
    """Whether models must be divided before they run."""
    return isinstance(trainer.strategy, ModelParallelStrategy)


def shard(model: M, trainer: pl.Trainer) -> M:
    """Divides each block among the ranks, then what is outside blocks, in place, where the strategy is to.

    Only a block at a time is whole on a device.

    Embedding and head stay in one group, so that tied ones are one parameter still.
    """
    strategy = trainer.strategy
    if not isinstance(strategy, ModelParallelStrategy):
        return model
    mesh = strategy.device_mesh["data_parallel"]
    for block in blocks(model):
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


def gather(model: nn.Module) -> dict[str, Any]:
    """The whole state on the first rank, in the host's memory; nothing on the others. All must call it."""
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def local(tensor: Tensor) -> Tensor:
    """What this rank has of a tensor that may be divided."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be divided among the ranks, as each of them can read it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
