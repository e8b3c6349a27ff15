"""What one stage still needs, and the sum over several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lidr.estimate.ranges import NOTHING, Range, total


@dataclass(frozen=True)
class Need:
    """What is left to do of a stage. None: unknown.

    requests: for a model. prompt_tokens, answer_tokens: of these requests.
    pairs, training_tokens: of a training over all epochs, as `TrainingSummary.tokens` counts them.
    seconds: of stages that load a model; of others 0, as they are not timed.
    bytes: that stay on disk. passing_bytes: that are there for a while, as a training's checkpoints are.
    cost: of engines that are paid for, in their prices' currency.
    """

    requests: Range = NOTHING
    prompt_tokens: Range = NOTHING
    answer_tokens: Range = NOTHING
    pairs: Range = NOTHING
    training_tokens: Range = NOTHING
    seconds: Range | None = NOTHING
    bytes: Range | None = NOTHING
    passing_bytes: float | None = 0
    cost: Range | None = NOTHING

    @property
    def tokens(self) -> Range:
        """Tokens that an engine reads and writes."""
        return self.prompt_tokens + self.answer_tokens


def together(needs: Iterable[Need]) -> Need:
    """The sum; of what passes the largest, as one stage runs at a time."""
    each = list(needs)
    passing = [need.passing_bytes for need in each]
    known = [size for size in passing if size is not None]
    return Need(
        requests=_sum(need.requests for need in each),
        prompt_tokens=_sum(need.prompt_tokens for need in each),
        answer_tokens=_sum(need.answer_tokens for need in each),
        pairs=_sum(need.pairs for need in each),
        training_tokens=_sum(need.training_tokens for need in each),
        seconds=total(need.seconds for need in each),
        bytes=total(need.bytes for need in each),
        passing_bytes=max(known, default=0) if len(known) == len(passing) else None,
        cost=total(need.cost for need in each),
    )


def _sum(values: Iterable[Range]) -> Range:
    return total(values) or NOTHING
