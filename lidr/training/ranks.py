"""The processes that train together, one a device: which of them this one is, and what they tell each other.

All of it goes through Lightning's strategy, whose single device is a group of one: no caller asks how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from pytorch_lightning.strategies import ParallelStrategy, SingleDeviceStrategy, Strategy
from torch import Tensor

from lidr.errors import LidrError

T = TypeVar("T")


class Ranks:
    """This process among those of a strategy."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self.rank, self.count = 0, 1
        if isinstance(strategy, ParallelStrategy):
            self.rank, self.count = strategy.global_rank, strategy.world_size

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def same(self, value: T) -> T:
        """The first process's value."""
        return self._strategy.broadcast(value)

    def decide(self, make: Callable[[], T]) -> T:
        """What the first process made, and it alone, or its error: all go on, or none does.

        Raises:
            LidrError: whatever the first process raised.
        """
        made: tuple[T | None, LidrError | None] = (None, None)
        if self.first:
            try:
                made = make(), None
            except LidrError as error:
                made = None, error
        value, failed = self.same(made)
        if failed is not None:
            raise failed
        return value  # type: ignore[return-value]

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count == 1:
            return tensor
        summed = self._strategy.reduce(tensor.to(self._strategy.root_device), reduce_op="sum")
        assert isinstance(summed, Tensor)
        return summed.to(tensor.device)

    def backward_apart(self) -> AbstractContextManager[None]:
        """Backward passes inside it leave DDP's gradients to themselves; a later one adds up what all have."""
        strategy = self._strategy
        return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()


ALONE = Ranks(SingleDeviceStrategy(torch.device("cpu")))
