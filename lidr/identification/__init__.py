"""The language of a text, told among the languages of a run.

First what cannot be in a language is taken out (code, addresses, formulas, digits), then the script is looked at, and
where it leaves several languages three detectors vote among these; two of them must agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from lidr.errors import LidrError
from lidr.identification.detectors import NAMES as DETECTORS
from lidr.identification.detectors import described, detector
from lidr.identification.scripts import script, written_in
from lidr.identification.text import letters, prose, words

__all__ = ["DETECTORS", "OTHER", "detector_name", "identify", "identify_lines", "is_on_target"]

OTHER = "other"  # none of the languages that were given, by its script
_MAJORITY = 2
_FASTEST_FIRST = ("fasttext", "langid", "lingua")
# Of beginnings shorter than 10 letters lingua names 3 % to 8 % wrongly (Alpagasus prompts, 11 languages).
_FEWEST_LETTERS = 10


def detector_name() -> str:
    """Packages and versions behind `identify`; detectors disagree, so every rate is reported with them."""
    return f"majority of {described()}"


def identify(text: str, among: Iterable[str]) -> str | None:
    """The language of a text, `OTHER` where its script is of none of them, None where it cannot be told.

    A text in yet another language of the same script is None or the nearest of the given ones. The rates of wrong and
    undetermined answers by language are in docs/evaluation.md.

    Args:
        text: an answer or a prompt.
        among: at least two codes.

    Raises:
        LidrError: there is nothing to choose from.
    """
    return _identify(words(prose(text)), _choice(among))


def identify_lines(text: str, among: Iterable[str]) -> Iterator[str | None]:
    """The language of each line that has words, as `identify` has it."""
    codes = _choice(among)
    for line in prose(text).splitlines():
        if own := words(line):
            yield _identify(own, codes)


def is_on_target(text: str, expected: str, among: Iterable[str]) -> bool | None:
    """Whether a text is in the expected language; None where its language cannot be told."""
    found = identify(text, among)
    return None if found is None else found == expected


def _identify(words: str, among: tuple[str, ...]) -> str | None:
    if letters(words) < _FEWEST_LETTERS:
        return None
    written = script(words)
    if written is None:
        return None
    plausible = written_in(written, among)
    if len(plausible) < _MAJORITY:
        return plausible[0] if plausible else OTHER
    # All are made ready, so that a language that one of them lacks is named; the third is asked where two disagree.
    detectors = {name: detector(name, plausible) for name in DETECTORS}
    votes = Counter[str | None]()
    for name in _FASTEST_FIRST:
        vote = detectors[name](words)
        votes[vote] += 1
        if votes[vote] == _MAJORITY:
            return vote
    return None


def _choice(among: Iterable[str]) -> tuple[str, ...]:
    codes = tuple(sorted(set(among)))
    if len(codes) < 2:
        raise LidrError(
            f"naming a text's language needs at least two to choose from, not {list(codes)}",
            where="languages",
            instead="name another language in languages.non_dominant or languages.unseen",
        )
    return codes
