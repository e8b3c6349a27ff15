"""Which pairs go into which optimizer step, and which of them through the model together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from lidr.config import Layout
from lidr.training import microbatch
from lidr.training.microbatch import ROWS, MicroBatch, attended, forward_tokens, with_padding
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
    """One optimizer step as tensors: what it holds in all, and the micro-batches of one rank.

    step: index in the plan, 0 for the first.
    tokens: tokens of its sequences, prompt and response, however they are laid out and without padding.
    pairs: index of each of its pairs, whichever rank has it.
    """

    step: int
    totals: StepTotals
    tokens: int
    pairs: Int[Tensor, " pairs"]
    micro_batches: list[MicroBatch]


class Batcher:
    """Divides steps into micro-batches and makes their tensors.

    Args:
        pad_id: fills rows in the padded layout.
        layout: any but auto.
        token_budget: tokens of a micro-batch, padding included; a pair that is longer goes alone.
        ahead: tokens that a step's first micro-batch may have beyond that, in packed layouts.
        rank, ranks: which process this is, of how many that share every step.
    """

    def __init__(
        self,
        pairs: Sequence[TokenPair],
        pad_id: int,
        layout: Layout,
        token_budget: int,
        *,
        ahead: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.pairs, self.pad_id = pairs, pad_id
        self.layout, self.token_budget, self.ahead = layout, token_budget, ahead
        self.rank, self.ranks = rank, ranks

    def step(self, index: int, step: Step) -> StepBatch:
        """The tensors of a step."""
        pairs = [self.pairs[i] for i in step.pairs]
        return StepBatch(
            step=index,
            totals=StepTotals(len(pairs), sum(len(pair.chosen) for pair in pairs)),
            tokens=sum(pair.tokens for pair in pairs),
            pairs=torch.tensor(step.pairs),
            micro_batches=list(self.micro_batches(step)),
        )

    def micro_batches(self, step: Step) -> Iterator[MicroBatch]:
        """The tensors of this rank's micro-batches of a step, one after the other; as many as any other rank's."""
        for indices in self.shares(step.pairs)[self.rank]:
            if indices:
                yield microbatch.make(self.pairs, indices, self.layout, self.pad_id)
            else:
                shortest = min(step.pairs, key=lambda i: (self._size(i), i))
                yield microbatch.filler(self.pairs, shortest, self.layout, self.pad_id)

    def shares(self, indices: Sequence[int]) -> list[list[list[int]]]:
        """The micro-batches of each rank, the longest first: equally many, and those at the same time of like length.

        No more passes than the token budget asks for, of as few tokens as first fit can make the longest
        (multifit, Coffman et al. 1978). An empty one is a filler's place.
        """
        bins = self.divide(indices)
        passes = -(-len(bins) // self.ranks)
        low, high = 1, self.token_budget
        while low < high:
            budget = (low + high) // 2
            tried = self.divide(indices, budget)
            if len(tried) <= passes * self.ranks:
                bins, high = tried, budget
            else:
                low = budget + 1
        bins.sort(key=lambda part: -self.tokens(part))
        bins += [[] for _ in range(passes * self.ranks - len(bins))]
        rounds = [bins[start : start + self.ranks] for start in range(0, len(bins), self.ranks)]
        return [
            [parts[rank if i % 2 == 0 else -1 - rank] for i, parts in enumerate(rounds)]
            for rank in range(self.ranks)
        ]

    def _size(self, index: int) -> int:
        return forward_tokens(self.pairs[index], self.layout)

    def tokens(self, indices: Sequence[int]) -> int:
        """Tokens of a micro-batch, padding included."""
        sizes = [self._size(i) for i in indices]
        return len(sizes) * max(sizes) if self.layout is Layout.PADDED else with_padding(sum(sizes))

    def attended(self, indices: Sequence[int]) -> int:
        """Pairs of a query and a key of a packed micro-batch."""
        pairs = [self.pairs[i] for i in indices]
        return sum(attended(pair, self.layout) for pair in pairs)

    def divide(self, indices: Sequence[int], budget: int | None = None) -> list[list[int]]:
        """Pairs that go through the model together, the longest first.

        Packed: first fit, longest first. Padded: pairs of like length side by side, so that little is padding.

        Args:
            budget: other than `token_budget`.
        """
        budget = self.token_budget if budget is None else budget
        size = {i: self._size(i) for i in indices}
        by_size = sorted(indices, key=lambda i: (-size[i], i))
        if self.layout is Layout.PADDED:
            return self._side_by_side(by_size, size, budget)
        bins: list[list[int]] = []
        room: list[int] = []
        for i in by_size:
            place = next((k for k, left in enumerate(room) if left >= size[i]), None)
            if place is None:
                whole = (budget if bins else budget + self.ahead) // ROWS * ROWS
                bins.append([i])
                room.append(whole - size[i])
            else:
                bins[place].append(i)
                room[place] -= size[i]
        return bins

    @staticmethod
    def _side_by_side(by_size: Sequence[int], size: dict[int, int], budget: int) -> list[list[int]]:
        """The first of a micro-batch is its longest, to whose length the others are padded."""
        bins: list[list[int]] = []
        for i in by_size:
            if bins and (len(bins[-1]) + 1) * size[bins[-1][0]] <= budget:
                bins[-1].append(i)
            else:
                bins.append([i])
        return bins
