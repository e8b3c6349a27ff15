"""A training and the machine it is on, as the choices see them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lidr.config import Precision, RunConfig, Strategy
from lidr.training.batching import Step
from lidr.training.pairs import TokenPair
from lidr.training.shapes import Settings


@dataclass(frozen=True)
class Situation:
    """What the choices depend on."""

    config: RunConfig
    device: torch.device
    precision: Precision
    pairs: tuple[TokenPair, ...]
    steps: tuple[Step, ...]
    pad_id: int

    @property
    def asked(self) -> str:
        """What was asked for and where, as text: other choices are made for another."""
        training, trainer = self.config.training, self.config.trainer
        keys = ("layout", "token_budget", "logits", "checkpointing")
        values = [f"{key}={getattr(training, key)}" for key in keys]
        values += [f"threads={trainer.threads}", f"{trainer.strategy.value}={trainer.ranks}"]
        return " ".join([*values, self.device.type, self.precision.value])


def settings_of(config: RunConfig, precision: Precision, device: torch.device) -> Settings:
    """A configured training as memory and operations are counted."""
    lora, trainer = config.lora, config.trainer
    return Settings(
        bf16=precision is Precision.BF16,
        lora_rank=lora.rank,
        lora_targets=lora.target_modules,
        devices=trainer.ranks,
        sharded=trainer.strategy is Strategy.FSDP,
        fused=not config.training.compile,
        cpu=device.type == "cpu",
    )
