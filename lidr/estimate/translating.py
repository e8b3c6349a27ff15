"""What the translations of an iteration still need."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from lidr import jsonl
from lidr.config import TranslatorKind
from lidr.estimate import lengths
from lidr.estimate.asking import Answering, Asked
from lidr.estimate.need import Need, together
from lidr.estimate.ranges import Range
from lidr.estimate.sizes import line, utf8
from lidr.estimate.stored import StoredTranslations
from lidr.records import Prompt, Translation, Turn
from lidr.stages import Stage, StageKind
from lidr.synthesis.read import Route, file_name, routes_for, translations
from lidr.synthesis.tags import Tags
from lidr.synthesis.translate import unfit


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
        ways = routes_for(self.config.languages, self.config.pairs)
        return together(_File(self, iteration, route).need() for route in ways)


@dataclass(frozen=True)
class _Sources:
    """Texts that are expected to be translated.

    sent: share of the records whose text is. characters, tokens: of one that is sent, in the translator's tokens.
    bytes: that a record keeps of its source, sent or not.
    """

    sent: Range
    characters: Range
    tokens: Range
    bytes: Range


class _File:
    """One file: the translations of a route."""

    def __init__(self, translating: Translating, iteration: int, route: Route) -> None:
        self.translating, self.left, self.asked = translating, translating.left, translating.asked
        self.iteration, self.route = iteration, route
        self.source, self.target = route[-2:]
        self.answers = translating.answering.answers(iteration)
        self.writings = lengths.writings(self.left.loop_prompts(iteration), self.asked.counter)

    def need(self) -> Need:
        there = self.left.standing(self._stage, file_name(self.route))
        texts = self._texts(there)
        if texts is not None:
            return self._of_texts(texts)
        left = [p for p in self._prompts if p.id not in there]
        return self._of_expected(len(left))

    @property
    def _stage(self) -> Stage:
        return Stage(StageKind.TRANSLATIONS, self.iteration)

    @property
    def _prompts(self) -> Sequence[Prompt]:
        return self.left.loop_prompts(self.iteration)[self.route[0]]

    @property
    def _there(self) -> _File | None:
        """The file whose translations this one's are made of; None where those are answers."""
        return _File(self.translating, self.iteration, self.route[:-1]) if len(self.route) > 2 else None

    def _texts(self, there: Container[str]) -> list[tuple[str, bool]] | None:
        """The texts that have no record yet, and whether each is sent; None where not all of them are written."""
        if self._there is None:
            answers = self.left.responses(self.iteration, self.source)
            if answers is None:
                return None
            return [(a.response, unfit(a) is None) for a in answers if a.id not in there]
        path = self.left.run.folder(self._stage) / file_name(self.route[:-1])
        if jsonl.whole_lines(path) < len(self._prompts):
            return None
        records = [r for r in translations(path, *self.route[:2]) if r.id not in there]
        return [(r.translation or "", r.translation is not None) for r in records]

    def _of_texts(self, texts: Sequence[tuple[str, bool]]) -> Need:
        sent = [text for text, is_sent in texts if is_sent]
        size = utf8(text for text, _ in texts) + self._line * len(texts)
        need = Need()
        if sent:
            mean = Range.exact(sum(map(len, sent)) / len(sent))
            need = self._sent(Range.exact(len(sent)), self._asked(sent), mean)
        return together([need, Need(bytes=Range.exact(size))])

    def _of_expected(self, count: int) -> Need:
        sources = self._answered() if self._there is None else self._there.translated()
        sent = sources.sent * count
        asked = sent * (self._asked([""]) + sources.tokens)
        kept = Need(bytes=sources.bytes * count + Range.exact(self._line * count))
        return together([self._sent(sent, asked, sources.characters), kept])

    def _answered(self) -> _Sources:
        answer = self.answers[self.source]
        own = answer.characters * self.writings[self.source].tokens
        return _Sources(
            answer.sent, answer.characters, answer.text_tokens if self._own else own, answer.bytes
        )

    def translated(self) -> _Sources:
        """This file's translations, as what is to be translated back."""
        answered = self._answered()
        text, _ = self._translation(answered.characters)
        written, cap = self._written, self.asked.cap(self.translating.config.translator.sampling, 0)
        text = text.at_most(cap / written.low)
        sent = answered.sent * lengths.translated_share(self._stored)
        size = sent * text * self.writings[self.target].bytes
        return _Sources(sent, text, (text * written).at_most(cap), size)

    @property
    def _stored(self) -> StoredTranslations | None:
        """Of this route; of one that goes back also those of its last leg."""
        stored = self.translating.answering.stored
        found = (
            stored.translations(self.iteration, way) for way in dict.fromkeys((self.route, self.route[-2:]))
        )
        return next((each for each in found if each is not None), None)

    def _translation(self, characters: Range) -> tuple[Range, Range]:
        """Characters of a translation that ends, and the share that is cut off."""
        proportion = self.writings[self.target].characters / self.writings[self.source].characters
        return lengths.translation_characters(characters, self._stored, proportion)

    @property
    def _written(self) -> Range:
        """Tokens of a character that the translator writes."""
        return (self.answers[self.target].writing if self._own else self.writings[self.target]).tokens

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
        text, cut = self._translation(characters)
        per_request = prompt_tokens.expected / max(1, requests.expected)
        cap = self.asked.cap(self.translating.config.translator.sampling, per_request)
        written = self._written
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
