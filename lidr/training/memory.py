"""What to type when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lidr.config import Checkpointing, TrainingConfig
from lidr.errors import LidrError
from lidr.memory import ran_out


@contextmanager
def budget_named(training: TrainingConfig, token_budget: int, longest: int) -> Iterator[None]:
    """Turns an allocation that failed into an error that names the budget to lower.

    Args:
        token_budget: the one in use, configured or chosen.
        longest: tokens of the longest sequence: a budget below it changes nothing.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise LidrError(
            f"memory ran out with training.token_budget={token_budget}"
            f" (the longest sequence has {longest} tokens)",
            where="training.token_budget",
            instead=_advice(training, token_budget, longest),
        ) from error


def _advice(training: TrainingConfig, token_budget: int, longest: int) -> str:
    if token_budget > longest:
        smaller = max(longest, token_budget // 2)
        return f"type training.token_budget={smaller}; the run goes on from its last checkpoint"
    if training.checkpointing is not Checkpointing.ALWAYS:
        return "type training.checkpointing=always; the run goes on from its last checkpoint"
    return "type a smaller training.max_length, lora=r16, or trainer=fsdp on several devices"
