"""One record of the page's browser, and all of them as the page embeds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lidr import languages
from lidr.report.page.units import Kind

RIGHT_TO_LEFT = frozenset({"ar", "arc", "ckb", "dv", "fa", "he", "ks", "ps", "sd", "ug", "ur", "yi"})
NOTHING = -1


@dataclass(frozen=True)
class Side:
    """A text with where it comes from.

    text: None where there is none. language: the one it should be in. origin: as in `lidr.records.Pair`.
    target: ``on``, ``off`` (``off:en`` where the language is known), ``unknown``; empty where it was not looked at.
    """

    text: str | None
    language: str
    origin: str
    target: str = ""


@dataclass(frozen=True)
class Record:
    """A pair candidate, an answer or a translation.

    iteration: t of iteration-t in whose folder it lies. model: t of the M_t that wrote it, NOTHING where
    another model did.
    outcome: what became of it: kept, a reason to drop it, an error, right or wrong.
    left, right: chosen and rejected; source and translation; an answer has no right side.
    reference: the right answer where the prompts hold one.
    """

    kind: Kind
    run: int
    iteration: int
    model: int
    language: str
    outcome: str
    identity: str
    prompt: str
    left: Side
    right: Side | None = None
    reference: str | None = None
    benchmark: str = ""


class _Index:
    """Values by number, in the order in which they first came."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def __call__(self, value: str | None) -> int:
        return NOTHING if value is None else self._places.setdefault(value, len(self._places))

    def values(self) -> list[str]:
        return list(self._places)


class Table:
    """Records as rows of numbers into lists of distinct texts: most texts stand in several records."""

    def __init__(self, most_text: int) -> None:
        self._most_text = most_text
        self._words, self._texts = _Index(), _Index()
        self._rows: list[list[int]] = []
        self._codes: set[str] = set()

    def add(self, record: Record) -> None:
        word, text = self._words, self._texts
        left, right = record.left, record.right
        row = [
            *(word(record.kind), record.run, record.iteration, record.model, word(record.language)),
            *(word(record.outcome), word(record.identity), text(record.prompt)),
            *(text(left.text), word(left.language), word(left.origin), word(left.target)),
        ]
        if right is not None:
            row += [text(right.text), word(right.language), word(right.origin), word(right.target)]
        else:
            row += [NOTHING] * 4
        self._rows.append([*row, word(record.reference), word(record.benchmark or None)])
        self._codes |= {side.language for side in (left, right) if side is not None}

    def payload(self, runs: Iterable[str]) -> dict[str, Any]:
        """What the page's script reads; see `FIELDS` for the rows.

        cut: characters of the texts that are longer than what is embedded, by their number.
        """
        texts = self._texts.values()
        return {
            "fields": list(FIELDS),
            "runs": list(runs),
            "languages": {code: _language(code) for code in sorted(self._codes | set(languages.codes()))},
            "words": self._words.values(),
            "texts": [text[: self._most_text] for text in texts],
            "cut": {str(i): len(text) for i, text in enumerate(texts) if len(text) > self._most_text},
            "rows": self._rows,
        }

    @property
    def cut(self) -> int:
        """Texts that are longer than what is embedded."""
        return sum(len(text) > self._most_text for text in self._texts.values())


FIELDS = (
    *("kind", "run", "iteration", "model", "language", "outcome", "id", "prompt"),
    *("left", "leftLanguage", "leftOrigin", "leftTarget"),
    *("right", "rightLanguage", "rightOrigin", "rightTarget"),
    *("reference", "benchmark"),
)


def _language(code: str) -> dict[str, str]:
    known = languages.name(code) if languages.is_known(code) else code
    return {"name": known, "dir": "rtl" if code in RIGHT_TO_LEFT else "ltr"}
