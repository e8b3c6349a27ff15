"""The precision that policy and reference share."""

from __future__ import annotations

import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.plugins.precision import Precision as LightningPrecision

from lidr.config import Precision


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """What autocast casts to on a device; None where it is off."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


class _StepwiseAutocast(MixedPrecision):
    """Lightning's mixed precision, casting each weight once per optimizer step and not once per micro-batch.

    A step's context holds all its micro-batches and the update after them; the casts end with it.
    """

    def autocast_context_manager(self) -> torch.autocast:
        return torch.autocast(self.device, dtype=torch.bfloat16, cache_enabled=True)


def plugin(precision: Precision, device: torch.device) -> LightningPrecision:
    """Lightning's precision plugin.

    bf16 is mixed, not pure: the weights that train stay fp32 and each operation runs in bf16. A pure bf16 weight
    of 0.02 has neighbours 1.2e-4 away, and at a learning rate of 5e-7 every update would round off to nothing.
    Under LoRA the frozen base is bf16, the adapter fp32.
    """
    if precision is Precision.BF16:
        return _StepwiseAutocast("bf16-mixed", device.type)
    return LightningPrecision()
