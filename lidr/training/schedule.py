"""The learning rate as a pure function of the step, so that there is no scheduler state to lose."""

from __future__ import annotations

import math

from lidr.config import Schedule


def lr_factor(step: int, steps: int, schedule: Schedule, warmup_ratio: float) -> float:
    """Factor of the peak learning rate at an optimizer step.

    Warm-up takes ceil(warmup_ratio * steps) steps and is linear; unlike Transformers' it does not start at 0,
    which would waste the first step. Cosine and linear then fall from 1 towards 0, reached just after the
    last step.

    Args:
        step: 0 for the first.
        steps: optimizer steps of the whole iteration.
    """
    warmup = min(math.ceil(warmup_ratio * steps), steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / (steps - warmup)
    if schedule is Schedule.COSINE:
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1 - done if schedule is Schedule.LINEAR else 1.0
