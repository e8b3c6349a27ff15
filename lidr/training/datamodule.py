"""The LightningDataModule of an iteration: its pair stage, its token pairs, its plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from lidr.chat import ChatFormat
from lidr.config import Layout, RunConfig
from lidr.errors import LidrError
from lidr.training.batching import Batcher, Step, StepBatch, plan_steps
from lidr.training.microbatch import MicroBatch
from lidr.training.pairs import TokenPairs, read_pairs, tokenise
from lidr.training.ranks import ALONE, Ranks


class StepLoader:
    """Serves optimizer steps in the plan's order.

    Lightning keeps the position with the checkpoint and sets it again before it asks for the first batch
    (`state_dict`, `load_state_dict`); without them it would start a resumed epoch from the plan's first step.
    """

    def __init__(self, batcher: Batcher, steps: tuple[Step, ...]) -> None:
        self.batcher, self.steps = batcher, steps
        self.served = 0

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[StepBatch]:
        for index in range(self.served, len(self.steps)):
            self.served = index + 1
            yield self.batcher.step(index, self.steps[index])

    def state_dict(self) -> dict[str, Any]:
        return {"served": self.served}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.served = int(state["served"])


class PairData(pl.LightningDataModule):
    """The pairs of one iteration; all its epochs are one Lightning epoch.

    Args:
        path: pairs.jsonl.
        build_pairs: makes it, or finds it made; None where it is there.
    """

    def __init__(
        self, config: RunConfig, path: Path, chat: ChatFormat, build_pairs: Callable[[], object] | None = None
    ) -> None:
        super().__init__()
        self.config, self.path, self.chat = config, path, chat
        self._build_pairs = build_pairs
        self._tokens: TokenPairs | None = None
        self._batcher: Batcher | None = None

    def prepare_data(self) -> None:
        """The pair stage."""
        if self._build_pairs is not None:
            self._build_pairs()
            self._build_pairs = None

    def setup(self, stage: str) -> None:
        """Reads and tokenises the pairs and lays out the plan; a second call changes nothing.

        Raises:
            LidrError: there is no pair, or none fits into training.max_length.
        """
        if self._tokens is not None:
            return
        training = self.config.training
        self._tokens = tokenise(
            read_pairs(self.path),
            self.chat,
            training.max_length,
            training.too_long,
            with_rejected=self.config.objective.name.is_preference,
            dominant=self.config.languages.dominant,
        )
        if not self._tokens.pairs:
            raise LidrError(
                f"none of {self._tokens.dropped} pairs fits into training.max_length={training.max_length}"
                " tokens",
                where=str(self.path),
                instead="type a larger training.max_length",
            )
        self.steps = plan_steps(
            len(self._tokens.pairs),
            global_batch=training.global_batch,
            epochs=training.epochs,
            seed=self.config.seed,
        )

    @property
    def tokens(self) -> TokenPairs:
        """The token pairs; there after `setup`."""
        if self._tokens is None:
            raise RuntimeError("setup() comes first")
        return self._tokens

    @property
    def total_tokens(self) -> int:
        """Real tokens through the model's body over all epochs."""
        return self.config.training.epochs * sum(pair.tokens for pair in self.tokens.pairs)

    def arrange(self, layout: Layout, token_budget: int, *, ahead: int = 0, ranks: Ranks = ALONE) -> None:
        """Says how steps are laid out and divided, among whom; comes before any batch."""
        self._batcher = Batcher(
            self.tokens.pairs,
            self.chat.pad_id,
            layout,
            token_budget,
            ahead=ahead,
            rank=ranks.rank,
            ranks=ranks.count,
        )

    @property
    def batcher(self) -> Batcher:
        """There after `arrange`."""
        if self._batcher is None:
            raise RuntimeError("arrange() comes first")
        return self._batcher

    def first_epoch(self) -> Iterator[MicroBatch]:
        """This rank's micro-batches of the first epoch, in training order."""
        for step in self.steps:
            if step.epoch == 0:
                yield from self.batcher.micro_batches(step)

    def train_dataloader(self) -> StepLoader:
        return StepLoader(self.batcher, self.steps)
