"""What pairs and trainings still need, on disk and in tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lidr.config import EnRejected, PairType, TooLong
from lidr.estimate import assumed
from lidr.estimate.asking import Answering
from lidr.estimate.lengths import ONE
from lidr.estimate.need import Need
from lidr.estimate.ranges import NOTHING, Range, total
from lidr.estimate.sizes import line, utf8
from lidr.records import Pair, Turn
from lidr.stages import Stage, StageKind
from lidr.synthesis import read

_STEP_BYTES = 1000  # a step's lines of metrics.jsonl and timing.jsonl; the language means make most of it
_LOG_PROB_BYTES = 8  # a pair's two reference log-probs, fp32
_CHECKPOINTS = 2  # a new one stands beside the old one until it is whole


@dataclass(frozen=True)
class MeanPair:
    """Pairs that are alike: how many, and the mean length of their texts in tokens and together in bytes."""

    count: Range
    prompt: float
    chosen: Range
    rejected: Range
    bytes: Range


class Training:
    """Pairs and trainings of one run."""

    def __init__(self, answering: Answering) -> None:
        self.answering, self.left, self.config = answering, answering.left, answering.config

    def pairs_stage(self, iteration: int) -> Need:
        """The pairs that will be written."""
        groups = list(self._expected(iteration))
        return Need(bytes=_total(g.count * g.bytes for g in groups))

    def training(self, iteration: int) -> Need:
        """The optimizer steps that are left."""
        groups = self.pairs(iteration)
        pairs = _total(g.count for g in groups)
        steps = self.steps(pairs)
        tokens = _total(g.count * self._tokens(g) for g in groups) * self.config.training.epochs
        return Need(
            pairs=pairs,
            training_tokens=tokens * self.ahead(iteration, steps),
            bytes=self._bytes(pairs, steps),
            passing_bytes=self._checkpoints(steps),
        )

    def ahead(self, iteration: int, steps: Range) -> Range:
        """Share of a training's steps that no checkpoint has behind it."""
        done = self.left.steps_done(iteration)
        return Range(*(max(0.0, 1 - done / n) if n else 0.0 for n in vars(steps).values()))

    def steps(self, pairs: Range) -> Range:
        """Optimizer steps over so many pairs."""
        training = self.config.training
        return Range(*(training.epochs * -(-n // training.global_batch) for n in vars(pairs).values()))

    def pairs(self, iteration: int) -> list[MeanPair]:
        """What will be trained on: the pairs that are there, or the ones to be expected."""
        stage = Stage(StageKind.PAIRS, iteration)
        if self.left.state(stage).is_done:
            return self._there(iteration)
        return list(self._expected(iteration))

    def _there(self, iteration: int) -> list[MeanPair]:
        path = self.left.run.folder(Stage(StageKind.PAIRS, iteration)) / "pairs.jsonl"
        records = list(read.pairs(path))
        counter = self.answering.model.counter
        counter.prompts([Turn(p.prompt) for p in records])
        counter.texts([text for p in records for text in (p.chosen, p.rejected)])
        return [
            MeanPair(
                ONE,
                counter.prompts([Turn(p.prompt)]).expected,
                counter.texts([p.chosen]) + ONE,
                counter.texts([p.rejected]) + ONE if self._reads_rejected else NOTHING,
                NOTHING,
            )
            for p in records
        ]

    def _expected(self, iteration: int) -> Iterator[MeanPair]:
        """By language; a translation into a language is about as long as an answer in it."""
        answers, types = self.answering.answers(iteration), self.config.pairs.types
        languages = self.config.languages
        kept = self._kept(iteration)
        for code, records in self.left.loop_prompts(iteration).items():
            kinds = len(languages.non_dominant) if self.config.pairs.en_rejected is EnRejected.ALL else 1
            dominant = code == languages.dominant
            if (PairType.EN if dominant else PairType.NL) not in types:
                continue
            turns = [Turn(p.prompt) for p in records]
            asked = self.answering.model.counter.prompts(turns).expected / len(records)
            text = answers[code].text_tokens + ONE
            frame = line(_pair(code)) + utf8(p.prompt for p in records) / len(records)
            size = answers[code].characters * (2 * answers[code].writing.bytes) + Range.exact(frame)
            count = kept * (len(records) * (kinds if dominant else 1))
            if self.config.pairs.limit is not None:
                count = count.at_most(self.config.pairs.limit)
            yield MeanPair(count, asked, text, text if self._reads_rejected else NOTHING, size)

    @property
    def _reads_rejected(self) -> bool:
        return self.config.objective.name.is_preference

    def _kept(self, iteration: int) -> Range:
        stored = self.answering.stored.kept(iteration)
        return assumed.KEPT_PAIRS if stored is None else (assumed.DRIFT * stored).at_most(1)

    def _tokens(self, pair: MeanPair) -> Range:
        """As `TokenPair.tokens` counts them; pairs beyond max_length are cut or dropped."""
        limit, rows = self.config.training.max_length, [pair.chosen]
        if self._reads_rejected:
            rows.append(pair.rejected)
        prompt = Range.exact(pair.prompt)
        longest = pair.prompt + max(row.expected for row in rows)
        dropped = self.config.training.too_long is TooLong.DROP and longest > limit
        if dropped or pair.prompt >= limit:
            return NOTHING
        return _total((prompt + row).at_most(limit) for row in rows)

    def _bytes(self, pairs: Range, steps: Range) -> Range | None:
        """What a training leaves: the model, the log of its steps, the reference's log-probs."""
        files, lora = self.answering.model.files, self.config.lora
        if files is None:
            return None
        reference = pairs * (_LOG_PROB_BYTES if self.config.objective.name.needs_reference else 0)
        return steps * _STEP_BYTES + reference + Range.exact(files.saved(lora.rank, lora.target_modules))

    def _checkpoints(self, steps: Range) -> float | None:
        files, lora = self.answering.model.files, self.config.lora
        if files is None:
            return None
        written = steps.expected > self.config.training.checkpoint_steps
        return _CHECKPOINTS * files.checkpoint(lora.rank, lora.target_modules) if written else 0


def _pair(language: str) -> Pair:
    return Pair("0" * 8, language, "", "", "", "en->xx", "xx")


def _total(values: Iterator[Range]) -> Range:
    return total(values) or NOTHING
