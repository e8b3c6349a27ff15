"""What the translations of an iteration still need."""

from __future__ import annotations

from collections.abc import Sequence

from lidr.config import TranslatorKind
from lidr.engines.base import FinishReason
from lidr.estimate import lengths
from lidr.estimate.asking import Answering, Asked
from lidr.estimate.need import Need, together
from lidr.estimate.ranges import Range
from lidr.estimate.sizes import line, utf8
from lidr.records import Response, Translation, Turn
from lidr.stages import Stage, StageKind
from lidr.synthesis.read import directions
from lidr.synthesis.tags import Tags


class Translating:
    """The translations of one run: of responses that are there, exactly their requests; of others, expected ones.

    Args:
        answering: the responses.
        asked: the model that translates.
    """

    def __init__(self, answering: Answering, asked: Asked) -> None:
        self.answering, self.asked = answering, asked
        self.left, self.config = answering.left, answering.config
        self.tags = Tags(self.config.translator)
        self.nobody = self.config.translator.kind is TranslatorKind.NONE

    def translations(self, iteration: int) -> Need:
        """Translations that have no record yet."""
        return together(
            _Direction(self, iteration, *pair).need() for pair in directions(self.config.languages)
        )


class _Direction:
    """One file."""

    def __init__(self, translating: Translating, iteration: int, source: str, target: str) -> None:
        self.translating, self.left, self.asked = translating, translating.left, translating.asked
        self.iteration, self.source, self.target = iteration, source, target
        self.answer = translating.answering.answers(iteration)[source]
        self.writings = lengths.writings(self.left.loop_prompts(iteration), self.asked.counter)

    def need(self) -> Need:
        stage = Stage(StageKind.TRANSLATIONS, self.iteration)
        there = self.left.standing(stage, f"{self.source}-{self.target}.jsonl")
        stored = self.left.responses(self.iteration, self.source)
        if stored is not None:
            return self._of_responses([r for r in stored if r.id not in there])
        left = [p for p in self.left.loop_prompts(self.iteration)[self.source] if p.id not in there]
        return self._of_expected(len(left))

    def _of_responses(self, answers: Sequence[Response]) -> Need:
        sent = [a for a in answers if a.response.strip() and a.finish_reason != FinishReason.LENGTH]
        size = utf8(a.response for a in answers) + self._line * len(answers)
        need = Need()
        if sent:
            mean = Range.exact(sum(len(a.response) for a in sent) / len(sent))
            asked = self._asked([a.response for a in sent])
            need = self._sent(Range.exact(len(sent)), asked, mean)
        return together([need, Need(bytes=Range.exact(size))])

    def _of_expected(self, count: int) -> Need:
        answer, sent = self.answer, self.answer.sent * count
        read = answer.text_tokens
        if not self._own:
            read = answer.characters * self.writings[self.source].tokens
        asked = sent * (self._asked([""]) + read)
        kept = Need(bytes=answer.bytes * count + Range.exact(self._line * count))
        return together([self._sent(sent, asked, answer.characters), kept])

    def _asked(self, sources: Sequence[str]) -> Range:
        """Prompt tokens of translating these texts."""
        tags, opening = self.translating.tags, self.translating.config.translator.open_tag
        turns = [Turn(tags.request(text, self.source, self.target), opening) for text in sources]
        return self.asked.counter.prompts(turns)

    def _sent(self, requests: Range, prompt_tokens: Range, characters: Range) -> Need:
        """Requests whose sources have so many characters on average."""
        size = self.writings[self.target].bytes
        if self.translating.nobody:
            return Need(bytes=requests * characters * size)
        stored = self.translating.answering.stored.translations(self.iteration, self.source, self.target)
        proportion = self.writings[self.target].characters / self.writings[self.source].characters
        text, cut = lengths.translation_characters(characters, stored, proportion)
        per_request = prompt_tokens.expected / max(1, requests.expected)
        cap = self.asked.cap(self.translating.config.translator.sampling, per_request)
        answers = self.translating.answering.answers(self.iteration)
        written = (answers[self.target].writing if self._own else self.writings[self.target]).tokens
        ended = (text * written + self._closing).at_most(cap)
        return Need(
            requests=requests,
            prompt_tokens=prompt_tokens,
            answer_tokens=requests * lengths.mixed(cut, ended, cap),
            bytes=requests * text.at_most(cap / written.low) * size,
        )

    @property
    def _closing(self) -> Range:
        return self.asked.counter.texts([self.translating.config.translator.close_tag])

    @property
    def _own(self) -> bool:
        """Whether the tokens of the translator are those of the answers."""
        return self.asked.counter is self.translating.answering.model.counter

    @property
    def _line(self) -> int:
        """Bytes of a record without its texts."""
        return line(Translation("0" * 8, self.source, self.target, "", "", None))
