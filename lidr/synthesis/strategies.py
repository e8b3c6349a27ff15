"""Which answers become chosen and rejected: the pair candidates of one prompt, before any filter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from lidr.config import EnRejected, LanguagesConfig, PairControl, PairsConfig, PairType
from lidr.records import Pair, Score, Translation
from lidr.synthesis.chrf import chrf
from lidr.synthesis.read import Group, origin


@dataclass(frozen=True)
class Candidate:
    """A pair that may still be dropped.

    other: the non-dominant language involved, which in an en pair gave the rejected answer.
    chosen, rejected: None where the translation that would fill them is missing.
    asks_for_translation: the prompt's right answer is the same in whatever language it is put.
    """

    group: Group
    type: PairType
    language: str
    other: str
    chosen: str | None
    rejected: str | None
    chosen_origin: str
    rejected_origin: str
    asks_for_translation: bool = False

    def kept(self, control: PairControl | None) -> Candidate:
        """What is trained on where no filter dropped it: the control of exchanged pairs has passed the same filters."""
        if control is not PairControl.SWAPPED:
            return self
        return replace(
            self,
            chosen=self.rejected,
            rejected=self.chosen,
            chosen_origin=self.rejected_origin,
            rejected_origin=self.chosen_origin,
        )

    def pair(self) -> Pair:
        """The record of a candidate that no filter dropped."""
        prompt = self.group.prompts[self.language].prompt
        return Pair(
            self.group.id,
            self.language,
            prompt,
            self.chosen or "",
            self.rejected or "",
            self.chosen_origin,
            self.rejected_origin,
        )


def candidates(
    group: Group, pairs: PairsConfig, languages: LanguagesConfig, seed: int, asks_for_translation: bool
) -> Iterator[Candidate]:
    """Candidates of one prompt: dominant language first, then the others in the run's order.

    nl: (x^l, y^{en->l} over y^l); en: (x^en, y^en over y^{l->en}). Where the prompt asks for a translation
    the chosen nl answer is y^en as it stands; the en pair stays what it is, as in the authors' script.
    `PairControl.FIDELITY` takes the answers themselves in place of translations, `PairControl.ROUND_TRIP` in place
    of every answer itself what became of it on the way to the pair's other language and back. A rival's are
    (x^l, best over worst) of the answers in l, by their scores.
    """
    if pairs.rival is not None:
        yield from _ranked(group, languages, asks_for_translation)
        return
    if pairs.control is PairControl.FIDELITY:
        yield from _untranslated(group, pairs, languages, seed)
        return
    if PairType.EN in pairs.types:
        for other in rejected_languages(group, pairs, languages, seed):
            yield _en(group, languages.dominant, other, pairs.control, asks_for_translation)
    if PairType.NL in pairs.types:
        for code in languages.non_dominant:
            yield _nl(group, languages.dominant, code, pairs.control, asks_for_translation)


def _ranked(group: Group, languages: LanguagesConfig, asks_for_translation: bool) -> Iterator[Candidate]:
    """The answer with the highest score over that with the lowest; of equal ones the first, and the last."""
    for code in languages.non_dominant:
        scored = [(s.score, s) for s in group.scores[code] if s.score is not None]
        best = max(scored, key=lambda pair: pair[0], default=(0.0, None))[1]
        worst = min(reversed(scored), key=lambda pair: pair[0], default=(0.0, None))[1]
        if best is worst:  # one that is alone is compared with nothing
            best = worst = None
        yield Candidate(
            group,
            PairType.NL,
            language=code,
            other=code,
            chosen=best.source if best else None,
            rejected=worst.source if worst else None,
            chosen_origin=_drawn(code, best),
            rejected_origin=_drawn(code, worst),
            asks_for_translation=asks_for_translation,
        )


def _drawn(code: str, score: Score | None) -> str:
    return f"{code}#{score.sample}" if score and score.sample else code


def _untranslated(
    group: Group, pairs: PairsConfig, languages: LanguagesConfig, seed: int
) -> Iterator[Candidate]:
    """(x^en, y^en over y^l) and (x^l, y^l over y^en)."""
    dominant = languages.dominant
    if PairType.EN in pairs.types:
        for other in rejected_languages(group, pairs, languages, seed):
            yield _own(group, PairType.EN, dominant, other, other)
    if PairType.NL in pairs.types:
        for code in languages.non_dominant:
            yield _own(group, PairType.NL, code, dominant, code)


def _own(group: Group, kind: PairType, language: str, rejected: str, other: str) -> Candidate:
    chosen_text, rejected_text = (group.responses[code].response for code in (language, rejected))
    return Candidate(group, kind, language, other, chosen_text, rejected_text, language, rejected)


def rejected_languages(group: Group, pairs: PairsConfig, languages: LanguagesConfig, seed: int) -> list[str]:
    """The languages l whose y^{l->en} are rejected in this prompt's en pairs.

    last: the last of languages.non_dominant, which is what the paper's released script comes down to.
    random: drawn by a hash of seed, id and language, so it depends neither on the prompts' order nor on other
    prompts. worst: the lowest chrF against y^en, the earlier language on a tie. Both draw among the languages
    without a translation error, if there are any. all: every language, one pair each.
    """
    codes = languages.non_dominant
    if pairs.en_rejected is EnRejected.ALL:
        return list(codes)
    if pairs.en_rejected is EnRejected.LAST:
        return [codes[-1]]
    usable = [c for c in codes if not failed_directions(group, c)]
    if not usable:
        return [codes[-1]]
    if pairs.en_rejected is EnRejected.RANDOM:
        return [min(usable, key=lambda code: _draw(seed, group.id, code))]
    reference = group.responses[languages.dominant].response
    dominant = languages.dominant
    return [min(usable, key=lambda code: chrf(_Text.translated(group, code, dominant).text or "", reference))]


def failed_directions(group: Group, code: str) -> list[Translation]:
    """The translations between the dominant language and another that hold an error or no text; those back, too."""
    between = (t for route, t in group.translations.items() if code in route)
    return [t for t in between if t.translation is None or not t.translation.strip()]


def _draw(seed: int, identity: str, code: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{identity}\0{code}".encode("utf-8", "surrogatepass")).digest()


def _nl(
    group: Group, dominant: str, code: str, control: PairControl | None, asks_for_translation: bool
) -> Candidate:
    translated = _Text.translated(group, dominant, code)
    chosen = _Text.own(group, dominant, code, control) if asks_for_translation else translated
    rejected = _Text.own(group, code, dominant, control)
    return Candidate(
        group,
        PairType.NL,
        language=code,
        other=code,
        chosen=chosen.text,
        rejected=rejected.text,
        chosen_origin=chosen.origin,
        rejected_origin=rejected.origin,
        asks_for_translation=asks_for_translation,
    )


def _en(
    group: Group, dominant: str, other: str, control: PairControl | None, asks_for_translation: bool
) -> Candidate:
    chosen = _Text.own(group, dominant, other, control)
    rejected = _Text.translated(group, other, dominant)
    return Candidate(
        group,
        PairType.EN,
        language=dominant,
        other=other,
        chosen=chosen.text,
        rejected=rejected.text,
        chosen_origin=chosen.origin,
        rejected_origin=rejected.origin,
        asks_for_translation=asks_for_translation,
    )


class _Text(NamedTuple):
    """One side of a pair; the text is None where the translation is missing."""

    text: str | None
    origin: str

    @classmethod
    def translated(cls, group: Group, *route: str) -> _Text:
        text = group.translations[route].translation
        return cls(text if text and text.strip() else None, origin(route))

    @classmethod
    def own(cls, group: Group, code: str, via: str, control: PairControl | None) -> _Text:
        """The answer in a language; in the control of round trips as it came back from the other one."""
        if control is PairControl.ROUND_TRIP:
            return cls.translated(group, code, via, code)
        return cls(group.responses[code].response, origin((code,)))
