"""Is a judge's scale the same in every language: ratings of the same content, whole and degraded in three steps.

The content of an item is the same in all languages, so that a judge with one scale would rate it alike everywhere
(offset 0) and lose as many points for each step of damage (equal slopes).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lidr import jsonl
from lidr.config.judge_schema import JudgeConfig
from lidr.engines.base import Engine
from lidr.errors import LidrError
from lidr.evaluation.statistics import NOTHING, Estimate, Observation, combine, mean
from lidr.judging.questions import Rated, rating_job, ratings
from lidr.synthesis.resume import complete_all

STEPS = (0, 1, 2, 3)  # of damage: a step takes a quarter of the text away
_QUARTERS = 4
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my"})


class Scale(NamedTuple):
    """A judge's scale in a language, 0 to 10.

    intact: the mean rating of whole answers. offset: that minus the first language's. slope: points a step of damage
    adds, by least squares; negative for a judge that notices. unread: replies without a rating.
    """

    language: str
    intact: Estimate
    offset: Estimate
    slope: Estimate
    unread: int


def damaged(text: str, language: str, step: int, seed: str) -> str:
    """A text without `step` quarters of its words, drawn at random; of its characters where no spaces part words.

    What is taken at a step is taken at the next ones too.
    """
    units = list(text) if language in _UNSPACED else text.split()
    order = list(range(len(units)))
    random.Random(f"lidr calibration {seed}").shuffle(order)
    gone = set(order[: len(units) * step // _QUARTERS])
    joint = "" if language in _UNSPACED else " "
    return text if not gone else joint.join(u for i, u in enumerate(units) if i not in gone)


def lab_content(languages: Sequence[str], limit: int) -> dict[str, list[Rated]]:
    """The lab's test problems with their right answers."""
    from lidr.lab.world import problems, render_answer, render_prompt

    chosen = problems("test")[:limit]
    return {
        code: [Rated(p.id, code, render_prompt(p, code), render_answer(p, code)) for p in chosen]
        for code in languages
    }


def read_content(pattern: str, languages: Sequence[str], limit: int) -> dict[str, list[Rated]]:
    """Items with id, prompt and answer from JSONL files; {language} in the pattern is the code.

    Raises:
        LidrError: a record lacks one of these, or the files do not hold the same ids.
    """
    found = {code: list(_read(Path(pattern.replace("{language}", code)), code)) for code in languages}
    first = languages[0]
    for code, items in found.items():
        if [i.id for i in items] != [i.id for i in found[first]]:
            raise LidrError(
                f"holds other ids than {pattern.replace('{language}', first)}",
                where=pattern.replace("{language}", code),
                instead="calibration compares the same items in every language, in the same order",
            )
    return {code: items[:limit] for code, items in found.items()}


def calibrate(
    content: Mapping[str, Sequence[Rated]], judge: JudgeConfig, engine: Engine, folder: Path
) -> list[Scale]:
    """Rates all content at every step of damage, resumes, and gives a scale per language, in order.

    Args:
        content: by language, the reference language first; the same items in each.
        folder: where the replies are kept.
    """
    items = {code: list(_steps(own)) for code, own in content.items()}
    jobs = [rating_job(own, judge, folder / f"{code}.jsonl") for code, own in items.items()]
    folder.mkdir(parents=True, exist_ok=True)
    complete_all(jobs, engine, f"calibrate {folder.name}")
    given = {code: _given(own, judge, folder / f"{code}.jsonl") for code, own in items.items()}
    return [_scale(code, given, next(iter(content))) for code in content]


def _steps(items: Sequence[Rated]) -> Iterator[Rated]:
    for item in items:
        for step in STEPS:
            text = damaged(item.answer, item.language, step, item.id)
            yield replace(item, answer=text, variant=str(step))


def _given(items: Sequence[Rated], judge: JudgeConfig, path: Path) -> dict[tuple[str, int], float | None]:
    values = ratings(items, judge, path)
    return {(item.id, int(item.variant)): value for item, value in zip(items, values, strict=True)}


def _scale(code: str, given: Mapping[str, Mapping[tuple[str, int], float | None]], reference: str) -> Scale:
    intact = [
        Observation(item, language, value)
        for language in dict.fromkeys((code, reference))
        for (item, step), value in given[language].items()
        if step == 0 and value is not None
    ]
    own = [o for o in intact if o.group == code]
    offset = (
        NOTHING if code == reference else combine(intact, {code: 1.0, reference: -1.0}, bounds=(-10.0, 10.0))
    )
    return Scale(
        code,
        mean(own, bounds=(0.0, 10.0)),
        offset,
        mean(_slopes(given[code]), bounds=None),
        sum(value is None for value in given[code].values()),
    )


def _slopes(given: Mapping[tuple[str, int], float | None]) -> Iterator[Observation]:
    """Of each item with a rating at every step, points a step."""
    middle = sum(STEPS) / len(STEPS)
    spread = sum((step - middle) ** 2 for step in STEPS)
    for item in dict.fromkeys(item for item, _ in given):
        values = [given.get((item, step)) for step in STEPS]
        if None not in values:
            slope = sum((s - middle) * float(v or 0.0) for s, v in zip(STEPS, values, strict=True)) / spread
            yield Observation(item, "slope", slope)


def _read(path: Path, language: str) -> Iterator[Rated]:
    for number, record in enumerate(jsonl.read(path), start=1):
        fields = [record.get(key) for key in ("id", "prompt", "answer")]
        if not all(isinstance(field, str) and field for field in fields):
            raise LidrError(
                "has no text under id, prompt and answer",
                where=f"{path}:{number}",
                instead='{"id": "1", "prompt": "...", "answer": "..."}',
            )
        yield Rated(str(fields[0]), language, str(fields[1]), str(fields[2]))
