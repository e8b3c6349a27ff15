"""Alignment: the prompts that stand exactly once, and not empty, in every language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lidr.printable import short
from lidr.prompts.rows import Item
from lidr.records import Prompt

_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """How many ids, and the first few with file:line."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class LanguageReport:
    """What one language's files hold.

    total: rows. missing: ids that other languages have. empty: ids whose prompt is blank.
    duplicated: ids on several rows.
    """

    language: str
    total: int
    missing: Finding
    empty: Finding
    duplicated: Finding

    @property
    def complete(self) -> bool:
        return not (self.missing.count or self.empty.count or self.duplicated.count)

    def describe(self) -> str:
        """One line that names what is wrong."""
        faults = {"missing": self.missing, "empty": self.empty, "duplicated": self.duplicated}
        parts = (f"{f.count} {name} ({', '.join(f.examples)})" for name, f in faults.items() if f.count)
        return f"{self.language}: {'; '.join(parts)}"


@dataclass(frozen=True)
class AlignmentReport:
    """aligned: prompts that every language has; dropped: ids left out of all languages."""

    languages: tuple[LanguageReport, ...]
    aligned: int
    dropped: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class AlignedPrompts:
    """The same prompts in every language, in the same order: that of the first language's files."""

    by_language: Mapping[str, tuple[Prompt, ...]]
    report: AlignmentReport

    def __len__(self) -> int:
        return self.report.aligned


def align(items: Mapping[str, Iterable[Item]]) -> AlignedPrompts:
    """Aligns by id; an id that is missing, empty or duplicated in one language is left out of all."""
    tables = {language: _table(rows) for language, rows in items.items()}
    union: dict[str, Item] = {}
    for table in tables.values():
        for identity, rows in table.items():
            union.setdefault(identity, rows[0])
    complete = [i for i in union if all(_stands_once(table.get(i, ())) for table in tables.values())]
    aligned = {language: _prompts(language, table, complete) for language, table in tables.items()}
    reports = tuple(_report(language, table, union) for language, table in tables.items())
    return AlignedPrompts(aligned, AlignmentReport(reports, len(complete), len(union) - len(complete)))


def _table(rows: Iterable[Item]) -> dict[str, list[Item]]:
    table: dict[str, list[Item]] = {}
    for row in rows:
        table.setdefault(row.id, []).append(row)
    return table


def _stands_once(rows: Sequence[Item]) -> bool:
    return len(rows) == 1 and bool(rows[0].text)


def _prompts(language: str, table: Mapping[str, Sequence[Item]], ids: Iterable[str]) -> tuple[Prompt, ...]:
    rows = (table[identity][0] for identity in ids)
    return tuple(Prompt(row.id, language, row.text, row.answer, row.follow_ups) for row in rows)


def _report(language: str, table: Mapping[str, Sequence[Item]], union: Mapping[str, Item]) -> LanguageReport:
    missing = [
        f"{short(identity)} is at {row.where}" for identity, row in union.items() if identity not in table
    ]
    empty = [f"{short(i)} at {rows[0].where}" for i, rows in table.items() if not all(r.text for r in rows)]
    twice = {i: rows for i, rows in table.items() if len(rows) > 1}
    duplicated = [f"{short(i)} at {' and '.join(r.where for r in rows[:2])}" for i, rows in twice.items()]
    total = sum(map(len, table.values()))
    return LanguageReport(language, total, _finding(missing), _finding(empty), _finding(duplicated))


def _finding(described: Sequence[str]) -> Finding:
    return Finding(len(described), tuple(described[:_SHOWN]))
