"""Fake engines, and the files of a small iteration."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from itertools import islice
from pathlib import Path

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import FiltersConfig, PairControl, RunConfig, SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.records import Prompt, Response, Translation, to_json
from lidr.synthesis.read import Group, Route, file_name, routes

SAMPLING = SamplingConfig(max_new_tokens=8, repetition_penalty=1.0)
SWITCHES = [each.name for each in fields(FiltersConfig) if each.type == "bool"]
OFF = FiltersConfig(
    translation_error=False,
    translation_incomplete_group=False,
    empty=False,
    truncated=False,
    repetition=False,
    repetition_max_share=0.5,
    identical=False,
    off_target_chosen=False,
)


class KilledError(Exception):
    """Stands for a process that dies."""


class FakeEngine:
    """Answers from a function, a few requests at a time as they come, the longest of them first.

    An answer ends after the first stop text, as the protocol wants.
    """

    def __init__(
        self, answer: Callable[[Request], tuple[str, str]], batch_size: int = 3, dies_after: int | None = None
    ) -> None:
        self.answer, self.batch_size, self.dies_after = answer, batch_size, dies_after
        self.batches = 0
        self.seen: list[Request] = []

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        waiting = (r for r in requests if r.key not in done)
        while batch := list(islice(waiting, self.batch_size)):
            if self.batches == self.dies_after:
                raise KilledError
            self.batches += 1
            self.seen += batch
            yield [self._complete(r) for r in sorted(batch, key=lambda r: (-len(r.user), r.key))]

    def _complete(self, request: Request) -> Completion:
        text, reason = self.answer(request)
        ends = [text.index(stop) + len(stop) for stop in request.stop if stop in text]
        finished = FinishReason.STOP if ends else FinishReason(reason)
        return Completion(request.key, text[: min(ends, default=len(text))], finished, tokens=1)


@cache
def base_config() -> RunConfig:
    return compose_run(["languages.dominant=en", "languages.non_dominant=[es,de]", "languages.unseen=[]"])


def config(**changes: object) -> RunConfig:
    """A run in en, es, de; `pairs` and `filters` keys are given by name, filters are off unless named."""
    base = base_config()
    filter_names = {k: v for k, v in changes.items() if hasattr(OFF, k)}
    pair_names = {k: v for k, v in changes.items() if hasattr(base.pairs, k)}
    rest = {k: v for k, v in changes.items() if k not in {*filter_names, *pair_names}}
    pairs = replace(base.pairs, filters=replace(OFF, **filter_names), **pair_names)  # type: ignore[arg-type]
    return replace(base, pairs=pairs, **rest)  # type: ignore[arg-type]


def group(
    identity: str = "p0",
    prompt: str = "Name a fruit.",
    answers: dict[str, str] | None = None,
    translations: Mapping[Route, str | None] | None = None,
    cut: tuple[str, ...] = (),
    control: PairControl | None = None,
) -> Group:
    """What an iteration in en, es, de wrote about one prompt; a translation that is None failed.

    Those back are there where the control needs them.
    """
    languages = base_config().languages
    said = {"en": "An apple.", "es": "Una pera.", "de": "Eine Birne."} | (answers or {})
    turned: dict[Route, str | None] = {
        ("en", "es"): "Una manzana.",
        ("es", "en"): "A pear.",
        ("en", "de"): "Ein Apfel.",
        ("de", "en"): "One pear.",
        ("en", "es", "en"): "An apple from es.",
        ("es", "en", "es"): "Una pera de vuelta.",
        ("en", "de", "en"): "An apple from de.",
        ("de", "en", "de"): "Eine Birne zurück.",
        **(translations or {}),
    }
    return Group(
        identity,
        {c: Prompt(identity, c, prompt if c == "en" else f"{c}: {prompt}") for c in languages.trained},
        {
            c: Response(identity, c, "", said[c], "length" if c in cut else "stop", 3)
            for c in languages.trained
        },
        {
            way: Translation(
                identity,
                *way[-2:],
                said[way[0]] if len(way) == 2 else turned[way[:-1]] or "",
                turned[way],
                None if turned[way] else "no closing tag",
            )
            for way in routes(languages, control)
        },
    )


def write(folder: Path, groups: Sequence[Group]) -> tuple[Path, Path, Path]:
    """The groups as the folders of an iteration: prompts, responses, translations."""
    places = folder / "prompts", folder / "responses", folder / "translations"
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    for code in base_config().languages.trained:
        jsonl.write(places[0] / f"{code}.jsonl", (to_json(g.prompts[code]) for g in groups))
        jsonl.write(places[1] / f"{code}.jsonl", (to_json(g.responses[code]) for g in groups))
    for way in groups[0].translations:
        jsonl.write(places[2] / file_name(way), (to_json(g.translations[way]) for g in groups))
    return places


def prompts(count: int, languages: Sequence[str] = ("en", "es")) -> dict[str, list[Prompt]]:
    """Prompts of several lengths, p0 and on."""
    return {c: [Prompt(f"p{i}", c, f"{c} {'x' * (i * 7 % 5)}") for i in range(count)] for c in languages}


def answer(request: Request) -> tuple[str, str]:
    """Every tenth answer, from p3 on, is cut off."""
    return f"answer to {request.key} {request.user}", "length" if request.key.endswith("3") else "stop"


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}
