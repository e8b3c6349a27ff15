"""What became of the pair candidates: counts, rates and examples, gathered in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lidr.config import RunConfig
from lidr.identification import detector_name
from lidr.synthesis.filters import Reason, Verdict
from lidr.synthesis.read import Group, origin, routes_for
from lidr.synthesis.strategies import Candidate

_EXAMPLES = 3
_EXAMPLE_LENGTH = 400
_LISTED_REQUESTS = 200


@dataclass
class _OnTarget:
    """on, off and undetermined texts; the rate leaves the undetermined out."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, on_target: bool | None) -> None:
        self.counts["undetermined" if on_target is None else "on" if on_target else "off"] += 1

    def to_json(self) -> dict[str, Any]:
        on, off = self.counts["on"], self.counts["off"]
        return {
            "rate": _ratio(on, on + off),
            "on": on,
            "off": off,
            "undetermined": self.counts["undetermined"],
        }


@dataclass
class _Cell:
    """One pair type in one language."""

    candidates: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    chosen: _OnTarget = field(default_factory=_OnTarget)
    rejected: _OnTarget = field(default_factory=_OnTarget)
    length_ratios: float = 0.0
    measured_lengths: int = 0
    origins: Counter[str] = field(default_factory=Counter)

    def add(self, candidate: Candidate, verdict: Verdict) -> None:
        self.candidates += 1
        if verdict.measured:
            self.chosen.add(verdict.chosen_on_target)
            self.rejected.add(verdict.rejected_on_target)
        if verdict.dropped:
            self.dropped[verdict.dropped] += 1
            return
        self.kept += 1
        self.origins[f"{candidate.chosen_origin} over {candidate.rejected_origin}"] += 1
        if candidate.rejected:
            self.length_ratios += len(candidate.chosen or "") / len(candidate.rejected)
            self.measured_lengths += 1

    def to_json(self) -> dict[str, Any]:
        return {
            "candidates": self.candidates,
            "kept": self.kept,
            "dropped": {reason.value: self.dropped[reason] for reason in Reason},
            "on_target": {"chosen": self.chosen.to_json(), "rejected": self.rejected.to_json()},
            "mean_length_ratio": _ratio(self.length_ratios, self.measured_lengths),
            "kept_by_origin": dict(sorted(self.origins.items())),
        }


@dataclass
class _Direction:
    """The translations of one route; lengths in characters of the source."""

    ok: int = 0
    ok_length: int = 0
    failed: int = 0
    failed_length: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, source: str, translation: str | None, error: str | None) -> None:
        if translation is None or not translation.strip():
            self.failed, self.failed_length = self.failed + 1, self.failed_length + len(source)
            self.errors[error or "empty"] += 1
        else:
            self.ok, self.ok_length = self.ok + 1, self.ok_length + len(source)

    def to_json(self) -> dict[str, Any]:
        return {
            "total": self.ok + self.failed,
            "failed": self.failed,
            "error_rate": _ratio(self.failed, self.ok + self.failed),
            "errors": dict(sorted(self.errors.items())),
            "mean_source_length": {
                "failed": _ratio(self.failed_length, self.failed),
                "ok": _ratio(self.ok_length, self.ok),
            },
        }


class Auditor:
    """Gathers the audit while pairs stream by; its memory does not grow with the number of prompts."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._prompts = 0
        self._requests: list[str] = []
        self._requests_found = 0
        languages = config.languages
        self._cells = {
            (type_, code): _Cell()
            for type_ in config.pairs.types
            for code in ([languages.dominant] if type_ == "en" else languages.non_dominant)
        }
        self._directions = {route: _Direction() for route in routes_for(languages, config.pairs)}
        self._examples: dict[Reason, list[dict[str, Any]]] = {reason: [] for reason in Reason}

    def add_group(self, group: Group, asks_for_translation: bool) -> None:
        """Counts one prompt and its translations."""
        self._prompts += 1
        for route, direction in self._directions.items():
            record = group.translations[route]
            direction.add(record.source, record.translation, record.error)
        if asks_for_translation:
            self._requests_found += 1
            if len(self._requests) < _LISTED_REQUESTS:
                self._requests.append(group.id)

    def add(self, candidate: Candidate, verdict: Verdict) -> None:
        """Counts one candidate."""
        self._cells[candidate.type, candidate.language].add(candidate, verdict)
        if verdict.dropped and len(self._examples[verdict.dropped]) < _EXAMPLES:
            self._examples[verdict.dropped].append(_example(candidate))

    def to_json(self) -> dict[str, Any]:
        """The audit, ready for ``audit.json``; see `audit_table` for the short form."""
        cells = [
            {"type": t.value, "language": code, **cell.to_json()} for (t, code), cell in self._cells.items()
        ]
        pairs = self._config.pairs
        return {
            "prompts": self._prompts,
            "candidates": sum(cell.candidates for cell in self._cells.values()),
            "kept": sum(cell.kept for cell in self._cells.values()),
            "dropped": {r.value: sum(cell.dropped[r] for cell in self._cells.values()) for r in Reason},
            "strategy": {"types": [t.value for t in pairs.types], "en_rejected": pairs.en_rejected.value}
            | ({"control": pairs.control.value} if pairs.control else {})
            | ({"rival": pairs.rival.name.value} if pairs.rival else {}),
            "detector": {"name": detector_name(), "languages": list(self._config.languages.all)},
            "pairs": cells,
            "translations": [
                {"source": "-".join(source), "target": target, **direction.to_json()}
                for (*source, target), direction in self._directions.items()
            ],
            "translation_requests": {
                "answered_untranslated": pairs.translation_requests,
                "found": self._requests_found,
                "ids": self._requests,
            },
            "examples": {reason.value: found for reason, found in self._examples.items() if found},
        }


def _example(candidate: Candidate) -> dict[str, Any]:
    return {
        "id": candidate.group.id,
        "type": candidate.type.value,
        "language": candidate.language,
        "prompt": _shortened(candidate.group.prompts[candidate.language].prompt),
        "chosen_origin": candidate.chosen_origin,
        "chosen": _shortened(candidate.chosen),
        "rejected_origin": candidate.rejected_origin,
        "rejected": _shortened(candidate.rejected),
        "translation_errors": {
            origin(route): t.error for route, t in candidate.group.translations.items() if t.error
        },
    }


def _shortened(text: str | None) -> str | None:
    return text if text is None or len(text) <= _EXAMPLE_LENGTH else text[:_EXAMPLE_LENGTH] + " …"


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


class AuditTable(NamedTuple):
    """Rows of text, ready for any table writer."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def audit_table(audit: Mapping[str, Any]) -> AuditTable:
    """The audit in short: a row for each pair type and language, then the sum.

    Reasons that never occurred have no column.
    """
    reasons = [reason for reason, count in audit["dropped"].items() if count]
    header = ("pairs", "language", "candidates", "kept", *(r.replace("_", " ") for r in reasons))
    header += ("chosen on target", "rejected on target", "length ratio")
    rows = [_row(cell, cell["type"], cell["language"], reasons) for cell in audit["pairs"]]
    dropped = (str(audit["dropped"][reason]) for reason in reasons)
    total = ("all", "", str(audit["candidates"]), str(audit["kept"]), *dropped, "", "", "")
    return AuditTable(header, [*rows, total])


def _row(cell: Mapping[str, Any], type_: str, language: str, reasons: list[str]) -> tuple[str, ...]:
    on_target = (cell["on_target"][side]["rate"] for side in ("chosen", "rejected"))
    ratio = cell["mean_length_ratio"]
    return (
        type_,
        language,
        str(cell["candidates"]),
        str(cell["kept"]),
        *(str(cell["dropped"][reason]) for reason in reasons),
        *("-" if rate is None else f"{rate:.1%}" for rate in on_target),
        "-" if ratio is None else f"{ratio:.2f}",
    )
