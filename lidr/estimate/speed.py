"""What a probe measured, and the time that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lidr.estimate.lengths import Seen
from lidr.estimate.need import Need
from lidr.estimate.ranges import Range

if TYPE_CHECKING:
    from lidr.estimate.training import MeanPair
    from lidr.training.shapes import ModelShape, Settings


@dataclass(frozen=True)
class AnswerSpeed:
    """Of one engine with one model.

    load: seconds until it is ready. prompt_token, answer_token: seconds for each, in the engine's own batches.
    requests: how many were answered together when that was measured.
    """

    load: float
    prompt_token: float
    answer_token: float
    requests: int

    def seconds(self, need: Need, processes: int) -> Range:
        """For a stage whose requests so many processes share; 0 for one that asks for nothing."""
        if not need.requests.high:
            return Range.exact(0)
        work = need.prompt_tokens * self.prompt_token + need.answer_tokens * self.answer_token
        return work / processes + Range.exact(self.load)


@dataclass(frozen=True)
class TrainingSpeed:
    """Of one device.

    load: seconds until the policy is ready. flops: operations a second, as `lidr.training.shapes` counts them.
    step: seconds of the optimizer's own.
    """

    load: float
    flops: float
    step: float
    shape: ModelShape
    settings: Settings

    def seconds(self, pairs: Sequence[MeanPair], steps: Range, epochs: int, reference: bool) -> Range:
        """For a training of which nothing is done yet, the reference's log-probs included."""
        from lidr.training.shapes import Work, flops

        ends = []
        for end in ("low", "expected", "high"):
            total = 0.0
            for pair in pairs:
                lengths = (round(getattr(text, end)) for text in (pair.chosen, pair.rejected))
                work = Work.of_pair(round(pair.prompt), *lengths)
                count = flops(self.shape, self.settings, work, reference=reference)
                total += getattr(pair.count, end) * (
                    epochs * (count.forward + count.backward) + count.reference
                )
            ends.append(self.load + total / self.flops + self.step * getattr(steps, end))
        return Range(*ends)


@dataclass(frozen=True)
class Used:
    """What was taken of servers that are paid for. cost: None where a price is unknown."""

    tokens: int
    cost: float | None


@dataclass(frozen=True)
class Measured:
    """A probe's results.

    translation: the same as `answers` where M_t translates. training: None where it was not measured, and
    `notes` say why. used: None where no engine is paid for.
    """

    answers: AnswerSpeed
    translation: AnswerSpeed
    training: TrainingSpeed | None
    seen: Seen
    used: Used | None
    notes: tuple[str, ...]
