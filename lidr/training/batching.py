"""Which pairs go into which optimizer step, and which of them through the model together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from lidr.config import Layout
from lidr.training import microbatch
from lidr.training.microbatch import MicroBatch, forward_tokens
from lidr.training.objective import StepTotals
from lidr.training.pairs import TokenPair


@dataclass(frozen=True)
class Step:
    """One optimizer step: the indices of its pairs."""

    epoch: int
    pairs: tuple[int, ...]


def plan_steps(pairs: int, *, global_batch: int, epochs: int, seed: int) -> tuple[Step, ...]:
    """Every optimizer step of an iteration, a function of its arguments alone.

    Each epoch goes once through a fresh permutation, drawn from a generator seeded with seed + epoch; the
    last step of an epoch holds what is left.

    Args:
        pairs: how many there are.
    """
    steps = []
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(seed + epoch)
        order: list[int] = torch.randperm(pairs, generator=generator).tolist()
        steps += [Step(epoch, tuple(order[i : i + global_batch])) for i in range(0, pairs, global_batch)]
    return tuple(steps)


class StepBatch(NamedTuple):
    """One optimizer step as tensors.

    step: index in the plan, 0 for the first.
    tokens: tokens of its sequences, prompt and response, however they are laid out and without padding.
    """

    step: int
    totals: StepTotals
    tokens: int
    micro_batches: list[MicroBatch]


class Batcher:
    """Divides steps into micro-batches and makes their tensors.

    Args:
        pad_id: fills rows in the padded layout.
        layout: any but auto.
        token_budget: tokens of a micro-batch, padding included; a pair that is longer goes alone.
    """

    def __init__(self, pairs: Sequence[TokenPair], pad_id: int, layout: Layout, token_budget: int) -> None:
        self.pairs, self.pad_id = pairs, pad_id
        self.layout, self.token_budget = layout, token_budget

    def step(self, index: int, step: Step) -> StepBatch:
        """The tensors of a step."""
        pairs = [self.pairs[i] for i in step.pairs]
        return StepBatch(
            step=index,
            totals=StepTotals(len(pairs), sum(len(pair.chosen) for pair in pairs)),
            tokens=sum(pair.tokens for pair in pairs),
            micro_batches=list(self.micro_batches(step)),
        )

    def micro_batches(self, step: Step) -> Iterator[MicroBatch]:
        """The tensors of a step's micro-batches, one after the other."""
        for indices in self.divide(step.pairs):
            yield microbatch.make(self.pairs, indices, self.layout, self.pad_id)

    def divide(self, indices: Sequence[int]) -> list[list[int]]:
        """Pairs that go through the model together, the longest first.

        Packed: first fit, longest first. Padded: pairs of like length side by side, so that little is padding.
        """
        size = {i: forward_tokens(self.pairs[i], self.layout) for i in indices}
        by_size = sorted(indices, key=lambda i: (-size[i], i))
        if self.layout is Layout.PADDED:
            return self._side_by_side(by_size, size)
        bins: list[list[int]] = []
        room: list[int] = []
        for i in by_size:
            place = next((k for k, left in enumerate(room) if left >= size[i]), None)
            if place is None:
                bins.append([i])
                room.append(self.token_budget - size[i])
            else:
                bins[place].append(i)
                room[place] -= size[i]
        return bins

    def _side_by_side(self, by_size: Sequence[int], size: dict[int, int]) -> list[list[int]]:
        """The first of a micro-batch is its longest, to whose length the others are padded."""
        bins: list[list[int]] = []
        for i in by_size:
            if bins and (len(bins[-1]) + 1) * size[bins[-1][0]] <= self.token_budget:
                bins[-1].append(i)
            else:
                bins.append([i])
        return bins
