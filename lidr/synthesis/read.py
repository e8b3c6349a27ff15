"""Reading back what earlier stages wrote, record by record."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from lidr import jsonl
from lidr.config import LanguagesConfig, PairControl
from lidr.engines.base import FinishReason
from lidr.errors import LidrError
from lidr.printable import short
from lidr.records import Pair, Prompt, Response, Translation

T_co = TypeVar("T_co", covariant=True)
Route = tuple[str, ...]  # the languages that an answer goes through, its own first: (en, es), (en, es, en)
_ENDINGS = tuple(reason.value for reason in FinishReason)
_PAIR = tuple(field.name for field in fields(Pair))
_MOST = 2**53  # tokens: the whole numbers that every JSON reader has


class Records(Protocol[T_co]):
    """Records that can be walked more than once: a list, or a file."""

    def __iter__(self) -> Iterator[T_co]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class PromptFile:
    """The prompts of a file, read anew by every walk; see `prompts`."""

    path: Path
    language: str

    def __iter__(self) -> Iterator[Prompt]:
        return prompts(self.path, self.language)

    def __len__(self) -> int:
        return jsonl.whole_lines(self.path)


@dataclass(frozen=True)
class ResponseFile:
    """The responses of a file, read anew by every walk; see `responses`."""

    path: Path
    language: str

    def __iter__(self) -> Iterator[Response]:
        return responses(self.path, self.language)

    def __len__(self) -> int:
        return jsonl.whole_lines(self.path)


def prompts(path: Path, language: str) -> Iterator[Prompt]:
    """The prompts of a file, checked to be of its language."""
    for record, where in _records(path):
        texts = _texts(record, ("id", "language", "prompt"), where)
        _check_language(texts["language"], language, where)
        answer = _text_or_null(record, "answer", where)
        yield Prompt(texts["id"], texts["language"], texts["prompt"], answer)


def responses(path: Path, language: str) -> Iterator[Response]:
    """The responses of a file, checked to be of its language."""
    for record, where in _records(path):
        texts = _texts(record, ("id", "language", "prompt", "response", "finish_reason"), where)
        _check_language(texts["language"], language, where)
        if texts["finish_reason"] not in _ENDINGS:
            raise LidrError(
                f"ended for the reason {short(texts['finish_reason'])!r}",
                where=where,
                instead=f"the reasons are {', '.join(_ENDINGS)}",
            )
        yield Response(**texts, tokens=_count(record, "tokens", where))


def translations(path: Path, source: str, target: str) -> Iterator[Translation]:
    """The translations of a file, checked to be of its languages."""
    for record, where in _records(path):
        texts = _texts(record, ("id", "source_language", "target_language", "source"), where)
        _check_language(texts["source_language"], source, where)
        _check_language(texts["target_language"], target, where)
        translation = _text_or_null(record, "translation", where)
        error = _text_or_null(record, "error", where)
        if (translation is None) == (error is None):
            raise LidrError(
                "needs either a translation or an error", where=where, instead="set exactly one of the two"
            )
        yield Translation(**texts, translation=translation, error=error)


def pairs(path: Path) -> Iterator[Pair]:
    """The pairs of a file, made here or elsewhere; what else its records hold is passed over."""
    for record, where in _records(path):
        yield Pair(**_texts(record, _PAIR, where))


@dataclass(frozen=True)
class Group:
    """All that was written about one prompt: by language, and translations by the answer's route."""

    id: str
    prompts: Mapping[str, Prompt]
    responses: Mapping[str, Response]
    translations: Mapping[Route, Translation]


def groups(
    prompts_dir: Path,
    responses_dir: Path,
    translations_dir: Path,
    languages: LanguagesConfig,
    control: PairControl | None,
) -> Iterator[Group]:
    """Walks all files side by side in prompt order; holds one prompt at a time. `control`: as in `routes`.

    Raises:
        LidrError: the files do not hold the same ids in the same order.
    """
    streams: dict[Path, Iterator[Prompt | Response | Translation]] = {}
    for code in languages.trained:
        path = prompts_dir / f"{code}.jsonl"
        streams[path] = prompts(path, code)
    for code in languages.trained:
        path = responses_dir / f"{code}.jsonl"
        streams[path] = responses(path, code)
    ways = routes(languages, control)
    for route in ways:
        path = translations_dir / file_name(route)
        streams[path] = translations(path, *route[-2:])
    paths = list(streams)
    for number, row in enumerate(itertools.zip_longest(*streams.values()), start=1):
        ids = [None if record is None else record.id for record in row]
        _check_aligned(paths, ids, number)
        yield Group(
            str(ids[0]),
            {r.language: r for r in row if isinstance(r, Prompt)},
            {r.language: r for r in row if isinstance(r, Response)},
            dict(zip(ways, (r for r in row if isinstance(r, Translation)), strict=True)),
        )


def directions(languages: LanguagesConfig) -> Iterator[tuple[str, str]]:
    """(source, target) of every file of translated answers, in the order they are made."""
    for code in languages.non_dominant:
        yield languages.dominant, code
        yield code, languages.dominant


def routes(languages: LanguagesConfig, control: PairControl | None) -> list[Route]:
    """Of every translation file, in the order they are made: `directions`, then those back, where pairs need them."""
    there: list[Route] = list(directions(languages))
    back = [(*route, route[0]) for route in there] if control is PairControl.ROUND_TRIP else []
    return [*there, *back]


def file_name(route: Route) -> str:
    """Such as ``en-es.jsonl``, and ``en-es-en.jsonl`` for what was translated back."""
    return f"{'-'.join(route)}.jsonl"


def origin(route: Route) -> str:
    """How pairs name a text that came this way: ``en``, ``en->es``, ``en->es->en``."""
    return "->".join(route)


def _check_aligned(paths: Sequence[Path], ids: Sequence[str | None], number: int) -> None:
    for path, identity in zip(paths, ids, strict=True):
        if identity != ids[0]:
            raise LidrError(
                f"holds {_shown(identity)} where {paths[0]} holds {_shown(ids[0])}",
                where=f"{path}:{number}",
                instead="make the stage's folder anew: all its files hold the same ids in the same order",
            )


def _shown(identity: str | None) -> str:
    return "nothing more" if identity is None else repr(short(identity))


def _records(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    for number, record in jsonl.numbered(path):
        yield record, f"{path}:{number}"


def _texts(record: Mapping[str, Any], keys: tuple[str, ...], where: str) -> dict[str, str]:
    absent = [key for key in keys if not isinstance(record.get(key), str)]
    if absent:
        raise LidrError(
            f"has no text under {', '.join(map(repr, absent))}",
            where=where,
            instead=f"a record holds {', '.join(keys)}, all texts",
        )
    return {key: _encodable(record[key], key, where) for key in keys}


def _text_or_null(record: Mapping[str, Any], key: str, where: str) -> str | None:
    value = record.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise LidrError(f"has no text under {key!r}", where=where, instead=f"{key} is a text or null")
    return _encodable(value, key, where)


def _encodable(value: str, key: str, where: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise LidrError(
            f"holds half a surrogate pair under {key!r}, which is no text",
            where=where,
            instead="mend the escape \\ud...",
        ) from None
    return value


def _count(record: Mapping[str, Any], key: str, where: str) -> int:
    value = record.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
        raise LidrError(
            f"{short(json.dumps(value))} under {key!r} is no number of tokens",
            where=where,
            instead=f"{key} is a whole number of 0 or more",
        )
    return value


def _check_language(found: str, expected: str, where: str) -> None:
    if found != expected:
        raise LidrError(
            f"is in {short(found)!r}, the file's name says {expected!r}",
            where=where,
            instead="mend or rename it",
        )
