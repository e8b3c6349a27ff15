"""Which pairs go into which optimizer step and micro-batch, and the tensors of a micro-batch.

This is the place to change for another layout (packed rows, shared prompts): the rest of the room treats a
`MicroBatch` as opaque and only asks `logprobs.response_log_probs` for log pi(y|x) of its pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lidr.config import TrainingConfig
from lidr.training.objective import StepTotals
from lidr.training.pairs import TokenPair


@dataclass(frozen=True)
class Step:
    """One optimizer step: indices of its pairs, one tuple per micro-batch."""

    epoch: int
    micro_batches: tuple[tuple[int, ...], ...]

    @property
    def pairs(self) -> tuple[int, ...]:
        return tuple(i for micro_batch in self.micro_batches for i in micro_batch)


def plan_steps(
    lengths: Sequence[int], *, global_batch: int, micro_batch: int, epochs: int, seed: int
) -> tuple[Step, ...]:
    """Every optimizer step of an iteration, a function of its arguments alone.

    Each epoch goes once through a fresh permutation, drawn from a generator seeded with seed + epoch; the
    last step of an epoch holds what is left. Within a step the longest pairs come first, so that a
    micro-batch holds rows of like length and little padding.

    Args:
        lengths: tokens of each pair's longest row.
    """
    steps = []
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(seed + epoch)
        order: list[int] = torch.randperm(len(lengths), generator=generator).tolist()
        for chosen in _chunks(order, global_batch):
            by_length = sorted(chosen, key=lambda i: (-lengths[i], i))
            steps.append(Step(epoch, tuple(tuple(c) for c in _chunks(by_length, micro_batch))))
    return tuple(steps)


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (items[start : start + size] for start in range(0, len(items), size))


class MicroBatch(NamedTuple):
    """Pairs that go through the model together; rows are right-padded, chosen ones before rejected ones.

    Attributes:
        pairs: index of each pair.
        before_response: True where the next token belongs to the response, so where logits are needed.
        response_lengths: |y| of each row, tokens, end of turn included.
    """

    pairs: Int[Tensor, " pairs"]
    input_ids: Int[Tensor, "rows time"]
    attention_mask: Int[Tensor, "rows time"]
    before_response: Bool[Tensor, "rows time"]
    response_lengths: Int[Tensor, " rows"]

    @property
    def chosen_lengths(self) -> Int[Tensor, " pairs"]:
        return self.response_lengths[: len(self.pairs)]

    def to(self, device: torch.device, **options: Any) -> MicroBatch:
        return MicroBatch(*(tensor.to(device, **options) for tensor in self))


class StepBatch(NamedTuple):
    """One optimizer step as tensors.

    step: index in the plan, 0 for the first.
    tokens: real tokens through the model's body, padding not counted.
    """

    step: int
    totals: StepTotals
    tokens: int
    micro_batches: list[MicroBatch]


class Batcher:
    """Makes the tensors of steps and micro-batches from token pairs."""

    def __init__(self, pairs: Sequence[TokenPair], pad_id: int) -> None:
        self.pairs = pairs
        self.pad_id = pad_id

    def plan(self, training: TrainingConfig, seed: int) -> tuple[Step, ...]:
        """The plan of an iteration over these pairs."""
        return plan_steps(
            [pair.longest for pair in self.pairs],
            global_batch=training.global_batch,
            micro_batch=training.micro_batch,
            epochs=training.epochs,
            seed=seed,
        )

    def step(self, index: int, step: Step) -> StepBatch:
        pairs = [self.pairs[i] for i in step.pairs]
        return StepBatch(
            step=index,
            totals=StepTotals(len(pairs), sum(len(pair.chosen) for pair in pairs)),
            tokens=sum(pair.tokens for pair in pairs),
            micro_batches=[self.micro_batch(indices) for indices in step.micro_batches],
        )

    def micro_batch(self, indices: Sequence[int]) -> MicroBatch:
        pairs = [self.pairs[i] for i in indices]
        rows = [(pair.prompt, pair.chosen) for pair in pairs]
        rows += [(pair.prompt, pair.rejected) for pair in pairs if pair.rejected is not None]
        shape = (len(rows), max(len(prompt) + len(response) for prompt, response in rows))
        input_ids = torch.full(shape, self.pad_id)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        before_response = torch.zeros(shape, dtype=torch.bool)
        for row, (prompt, response) in enumerate(rows):
            start, end = len(prompt), len(prompt) + len(response)
            input_ids[row, :end] = torch.tensor(prompt + response)
            attention_mask[row, :end] = 1
            before_response[row, start - 1 : end - 1] = True
        return MicroBatch(
            pairs=torch.tensor(indices),
            input_ids=input_ids,
            attention_mask=attention_mask,
            before_response=before_response,
            response_lengths=torch.tensor([len(response) for _, response in rows]),
        )
