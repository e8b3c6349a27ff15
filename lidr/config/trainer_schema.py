"""How training is batched, fitted into memory and put on a machine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TooLong(StrEnum):
    TRUNCATE = "truncate"
    DROP = "drop"


class Schedule(StrEnum):
    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant"


class Layout(StrEnum):
    """How a forward pass holds its sequences.

    shared: one row without padding, a pair's prompt once. packed: one row without padding. padded: a row each.
    auto: shared where the model can, else padded.
    """

    AUTO = "auto"
    SHARED = "shared"
    PACKED = "packed"
    PADDED = "padded"


class Logits(StrEnum):
    """kept: in memory from forward to backward. chunked: a few rows at a time, computed again in the backward."""

    AUTO = "auto"
    KEPT = "kept"
    CHUNKED = "chunked"


class Checkpointing(StrEnum):
    """Whether each block's activations are computed again in the backward, to save memory."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class TrainerPrecision(StrEnum):
    """Arithmetic of training; auto: bf16 where the machine computes in it, else fp32."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class Accelerator(StrEnum):
    CPU = "cpu"
    CUDA = "cuda"


class Strategy(StrEnum):
    """How devices share a training. ddp: each holds the whole model. fsdp: each holds a share of every block."""

    NONE = "none"
    DDP = "ddp"
    FSDP = "fsdp"


@dataclass(frozen=True)
class LoraConfig:
    rank: int
    alpha: float
    target_modules: tuple[str, ...]

    @property
    def enabled(self) -> bool:
        return self.rank > 0


@dataclass(frozen=True)
class TrainingConfig:
    lr: float
    global_batch: int
    token_budget: int | None
    layout: Layout
    logits: Logits
    checkpointing: Checkpointing
    compile: bool
    epochs: int
    max_length: int
    too_long: TooLong
    schedule: Schedule
    warmup_ratio: float
    weight_decay: float
    adam_betas: tuple[float, float]
    max_grad_norm: float
    checkpoint_steps: int


@dataclass(frozen=True)
class TrainerConfig:
    accelerator: Accelerator
    threads: int | None
    precision: TrainerPrecision
    strategy: Strategy
    devices: int
    nodes: int

    @property
    def ranks(self) -> int:
        """Processes that train together, one a device."""
        return self.devices * self.nodes
