"""What one iteration's training is given, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lidr.config import RunConfig
from lidr.errors import LidrError
from lidr.models import is_adapter, torch_device


@dataclass(frozen=True)
class TrainingJob:
    """What one iteration trains from and writes to.

    Attributes:
        iteration: t of the model M_t that comes out; 1 for the first.
        policy: folder or hub id of M_{t-1}.
        reference: folder or hub id of pi_ref; the same as `policy` for reference=previous.
        pairs: pairs.jsonl.
        build_pairs: the pair stage, called before `pairs` is read; None where it is there.
        output: the model folder that is written, whole or not at all.
        folder: metrics.jsonl, timing.jsonl, choices.json, reference.safetensors, and last.ckpt until all is done.
    """

    config: RunConfig
    iteration: int
    policy: str
    reference: str
    pairs: Path
    build_pairs: Callable[[], object] | None
    output: Path
    folder: Path

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def times(self) -> Path:
        return self.folder / "timing.jsonl"

    @property
    def choices(self) -> Path:
        return self.folder / "choices.json"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "last.ckpt"

    @property
    def cached_reference(self) -> Path:
        return self.folder / "reference.safetensors"

    @property
    def own_reference(self) -> bool:
        """Whether the reference is the policy as it starts."""
        return self.reference == self.policy

    @property
    def device(self) -> torch.device:
        return torch_device(self.config.trainer.accelerator)

    def revision(self, model: str) -> str | None:
        """The configured revision belongs to M_0 alone."""
        return self.config.model.revision if model == self.config.model.path else None

    def check(self) -> None:
        """Raises a LidrError for what cannot be trained here."""
        torch_device(self.config.trainer.accelerator)
        if is_adapter(self.policy) and not self.config.lora.enabled:
            raise LidrError(
                "full training cannot go on from a LoRA adapter",
                where=f"lora, model {self.policy!r}",
                instead="type lora=r16, or give the merged model",
            )


@dataclass(frozen=True)
class TrainingSummary:
    """What came of a training, in plain values.

    tokens: real tokens of all sequences over all epochs, without padding and the reference's pass.
    truncated, dropped: pairs cut to training.max_length, and pairs left out for it.
    resumed_from: optimizer steps an earlier, killed attempt had done.
    seconds, reference_seconds: of this attempt, in whole and for the reference log-probs.
    """

    pairs: int
    steps: int
    tokens: int
    truncated: int
    dropped: int
    first_loss: float
    final_loss: float
    resumed_from: int
    seconds: float
    reference_seconds: float

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)
