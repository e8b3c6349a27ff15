"""Reading back what earlier stages wrote, record by record."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Protocol, TypeVar

from lidr import jsonl
from lidr.config import LanguagesConfig, PairControl, PairsConfig
from lidr.engines.base import FinishReason
from lidr.errors import LidrError
from lidr.printable import short
from lidr.records import Pair, Prompt, Response, Score, Translation
from lidr.synthesis.fields import (
    check_language,
    needed_texts,
    number_or_null,
    numbered_records,
    text_or_null,
    whole_number,
)

T_co = TypeVar("T_co", covariant=True)
Route = tuple[str, ...]  # the languages that an answer goes through, its own first: (en, es), (en, es, en)
_ENDINGS = tuple(reason.value for reason in FinishReason)
_PAIR = tuple(each.name for each in fields(Pair))


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
    for record, where in numbered_records(path):
        texts = needed_texts(record, ("id", "language", "prompt"), where)
        check_language(texts["language"], language, where)
        answer = text_or_null(record, "answer", where)
        yield Prompt(texts["id"], texts["language"], texts["prompt"], answer)


def responses(path: Path, language: str) -> Iterator[Response]:
    """The responses of a file, checked to be of its language."""
    for record, where in numbered_records(path):
        texts = needed_texts(record, ("id", "language", "prompt", "response", "finish_reason"), where)
        check_language(texts["language"], language, where)
        if texts["finish_reason"] not in _ENDINGS:
            raise LidrError(
                f"ended for the reason {short(texts['finish_reason'])!r}",
                where=where,
                instead=f"the reasons are {', '.join(_ENDINGS)}",
            )
        yield Response(**texts, tokens=whole_number(record, "tokens", where))


def translations(path: Path, source: str, target: str) -> Iterator[Translation]:
    """The translations of a file, checked to be of its languages."""
    for record, where in numbered_records(path):
        texts = needed_texts(record, ("id", "source_language", "target_language", "source"), where)
        check_language(texts["source_language"], source, where)
        check_language(texts["target_language"], target, where)
        translation = text_or_null(record, "translation", where)
        error = text_or_null(record, "error", where)
        if (translation is None) == (error is None):
            raise LidrError(
                "needs either a translation or an error", where=where, instead="set exactly one of the two"
            )
        yield Translation(**texts, translation=translation, error=error)


def scores(path: Path, language: str, sample: int) -> Iterator[Score]:
    """The scores of a file, checked to be of its language and sample."""
    for record, where in numbered_records(path):
        texts = needed_texts(record, ("id", "language", "source"), where)
        check_language(texts["language"], language, where)
        if whole_number(record, "sample", where) != sample:
            raise LidrError(
                f"is of another sample than the file's name says, {sample}", where=where, instead="rename it"
            )
        error, score = text_or_null(record, "error", where), number_or_null(record, "score", where)
        if (score is None) == (error is None):
            raise LidrError(
                "needs either a score or an error", where=where, instead="set exactly one of the two"
            )
        yield Score(
            **texts, sample=sample, score=score, tokens=whole_number(record, "tokens", where), error=error
        )


def pairs(path: Path) -> Iterator[Pair]:
    """The pairs of a file, made here or elsewhere; what else its records hold is passed over."""
    for record, where in numbered_records(path):
        yield Pair(**needed_texts(record, _PAIR, where))


@dataclass(frozen=True)
class Group:
    """All that was written about one prompt: by language, and translations by the answer's route.

    scores: of a rival's samples, by language and in their order.
    """

    id: str
    prompts: Mapping[str, Prompt]
    responses: Mapping[str, Response]
    translations: Mapping[Route, Translation]
    scores: Mapping[str, Sequence[Score]] = field(default_factory=dict)


def groups(
    prompts_dir: Path,
    responses_dir: Path,
    compared_dir: Path,
    languages: LanguagesConfig,
    strategy: PairsConfig,
) -> Iterator[Group]:
    """Walks all files side by side in prompt order; holds one prompt at a time.

    Args:
        compared_dir: the translations, or the scores of a rival's samples.
        strategy: says which of the two, and how many.

    Raises:
        LidrError: the files do not hold the same ids in the same order.
    """
    streams: dict[Path, Iterator[Prompt | Response | Translation | Score]] = {}
    for code in languages.trained:
        path = prompts_dir / f"{code}.jsonl"
        streams[path] = prompts(path, code)
    for code in languages.trained:
        path = responses_dir / f"{code}.jsonl"
        streams[path] = responses(path, code)
    ways = routes_for(languages, strategy)
    for route in ways:
        path = compared_dir / file_name(route)
        streams[path] = translations(path, *route[-2:])
    for code, sample in samples(languages, strategy):
        path = compared_dir / sample_file(code, sample)
        streams[path] = scores(path, code, sample)
    paths = list(streams)
    for number, row in enumerate(itertools.zip_longest(*streams.values()), start=1):
        ids = [None if record is None else record.id for record in row]
        _check_aligned(paths, ids, number)
        yield Group(
            str(ids[0]),
            {r.language: r for r in row if isinstance(r, Prompt)},
            {r.language: r for r in row if isinstance(r, Response)},
            dict(zip(ways, (r for r in row if isinstance(r, Translation)), strict=True)),
            by_language(r for r in row if isinstance(r, Score)),
        )


def by_language(found: Iterable[Score]) -> dict[str, list[Score]]:
    """Scores as `Group` has them."""
    lists: dict[str, list[Score]] = {}
    for score in found:
        lists.setdefault(score.language, []).append(score)
    return lists


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


def routes_for(languages: LanguagesConfig, strategy: PairsConfig) -> list[Route]:
    """The routes that pairs need; a rival's need none."""
    return [] if strategy.rival else routes(languages, strategy.control)


def samples(languages: LanguagesConfig, strategy: PairsConfig) -> list[tuple[str, int]]:
    """(language, sample) of every file of a rival's scores, in the order they are made; 0: the model's own answer."""
    count = -1 if strategy.rival is None else strategy.rival.samples
    return [(code, sample) for code in languages.non_dominant for sample in range(count + 1)]


def draws(languages: LanguagesConfig, strategy: PairsConfig) -> list[tuple[str, int]]:
    """Those of `samples` that are drawn: all but the model's own answers."""
    return [(code, sample) for code, sample in samples(languages, strategy) if sample]


def sample_file(language: str, sample: int) -> str:
    """Such as ``es-1.jsonl``."""
    return f"{language}-{sample}.jsonl"


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
