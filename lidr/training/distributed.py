"""Lightning's trainer for one device or several, and the terms of a step whose pairs are shared.

Several devices are a process each, started by `lidr.launch`, torchrun or srun: Lightning finds out by the
environment which, and starts none itself.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytorch_lightning as pl
import torch
from jaxtyping import Int
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor

from lidr.config import Precision, TrainerConfig
from lidr.config import Strategy as StrategyName
from lidr.training import numerics
from lidr.training.objective import Terms
from lidr.training.ranks import Ranks

# A process that ended is noticed at once, by its launcher; this is for one that hangs.
TIMEOUT = timedelta(minutes=15)


def build_trainer(
    config: TrainerConfig, precision: Precision, device: torch.device, folder: Path
) -> pl.Trainer:
    """A trainer whose process group is up, so that its strategy works before it fits anything."""
    trainer = pl.Trainer(
        accelerator=config.accelerator.value,
        strategy=_strategy(config),
        devices=config.devices,
        num_nodes=config.nodes,
        plugins=[numerics.plugin(precision, device), *_environment(config)],
        max_epochs=1,
        deterministic=True,
        use_distributed_sampler=False,  # the batcher shares a step
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if config.ranks > 1:
        trainer.strategy.connect(pl.LightningModule())  # a strategy that shards asks for one
        trainer.strategy.setup_environment()
    return trainer


def _environment(config: TrainerConfig) -> list[ClusterEnvironment]:
    """None where torch's elastic agent started the processes, which Lightning sees by itself.

    In a SLURM job Lightning would by itself refuse `--ntasks` though one process trains, ignore SIGTERM, and answer
    SIGUSR1 with a checkpoint of its own, without which the same command goes on as well.
    """
    if config.ranks == 1:
        return [LightningEnvironment()]
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return []
    return [SLURMEnvironment(auto_requeue=False)]


def _strategy(config: TrainerConfig) -> Strategy | str:
    """FSDP is torch's second one: it works on the CPU too, and leaves each parameter its name and its type."""
    if config.ranks == 1:
        return "auto"
    if config.strategy is StrategyName.FSDP:
        return ModelParallelStrategy(
            data_parallel_size=config.ranks,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            timeout=TIMEOUT,
        )
    # All buffers are the same on every rank, and stay so.
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True, timeout=TIMEOUT)


def share_terms(terms: Terms, own: Int[Tensor, " own"], pairs: Int[Tensor, " pairs"], ranks: Ranks) -> Terms:
    """The terms of a whole step, in the order of its pairs, from each rank's own.

    Every rank has all of them then, and so checks and records the same.

    Args:
        own: index of each pair of this rank.
        pairs: index of each pair of the step, once.
    """
    place = (own[:, None] == pairs).int().argmax(dim=1)
    columns = terms.columns()
    table = torch.zeros(len(columns), len(pairs), device=own.device)
    table[:, place] = torch.stack(list(columns.values())).float()
    return type(terms)(**dict(zip(columns, ranks.total(table), strict=True)))
