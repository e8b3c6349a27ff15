"""What the samples and scores of a rival's pairs still need."""

from __future__ import annotations

from lidr.estimate import lengths
from lidr.estimate.asking import Answering, Asked
from lidr.estimate.need import Need, together
from lidr.estimate.ranges import Range
from lidr.estimate.sizes import line
from lidr.records import Score, Turn
from lidr.stages import Stage, StageKind
from lidr.synthesis.read import draws, sample_file, samples
from lidr.synthesis.tags import Tags


class Ranking:
    """The samples of one run, and their scores, from expected lengths.

    Args:
        answering: the responses.
        asked: the model that scores.
    """

    def __init__(self, answering: Answering, asked: Asked) -> None:
        self.answering, self.asked = answering, asked
        self.left, self.config = answering.left, answering.config
        self._tags = Tags(self.config.translator)
        self._files = samples(self.config.languages, self.config.pairs)

    def samples(self, iteration: int) -> Need:
        """Answers that are still to be drawn; each is expected to be as long as the model's own."""
        drawn = draws(self.config.languages, self.config.pairs)
        return together(self.answering.samples(iteration, *each) for each in drawn)

    def scores(self, iteration: int) -> Need:
        """Answers that have no score yet: read with the dominant language's answer, and nothing is written."""
        return together(self._scores(iteration, code, sample) for code, sample in self._files)

    def _scores(self, iteration: int, code: str, sample: int) -> Need:
        dominant, prompts = self.config.languages.dominant, self.left.loop_prompts(iteration)
        name, stage = sample_file(code, sample), Stage(StageKind.SCORES, iteration)
        count = len(self.left.unanswered(prompts[code], stage, name))
        answers = self.answering.answers(iteration)
        sent = answers[code].sent * answers[dominant].sent * count
        turn = Turn(self._tags.request("", code, dominant), self._tags.config.open_tag)
        closing = self.asked.counter.texts([self._tags.config.close_tag])
        framed = self.asked.counter.prompts([turn]) + closing
        read = self._tokens(iteration, code) + self._tokens(iteration, dominant)
        empty = line(Score("0" * 8, code, sample, "", -1.2345678901234567, 100, None))
        return Need(
            requests=sent,
            prompt_tokens=sent * (framed + read),
            bytes=answers[code].bytes * count + Range.exact(empty * count),
        )

    def _tokens(self, iteration: int, code: str) -> Range:
        """Of an answer, as the model that scores counts them."""
        answer = self.answering.answers(iteration)[code]
        if self.asked.counter is self.answering.model.counter:
            return answer.text_tokens
        writing = lengths.writings(self.left.loop_prompts(iteration), self.asked.counter)[code]
        return answer.characters * writing.tokens
