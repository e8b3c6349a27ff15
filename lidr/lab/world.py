"""The parallel world: one problem renders a prompt and a correct answer in every language.

A pair of operands belongs to the test split or not, whatever the skill and the order of the two. A test
problem starts from a held-out pair; a train problem and every text of the pretraining corpus contain none.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from lidr.errors import LidrError
from lidr.lab.lexicon import NAMES, OBJECTS, count, counter_fields, how_many, name_fields
from lidr.lab.templates import ANSWER_LINES, ANSWERS, PROMPTS

LANGUAGES: tuple[str, ...] = ("en", "es", "de", "fr", "ru", "zh")
SKILLS: tuple[str, ...] = ("add", "subtract", "multiply", "add_subtract")
PHRASINGS = 4
SIZES = {"train": 2400, "test": 320}
LOWEST, HIGHEST = 10, 98
_TEST_SHARE = 16
_UNPRACTISED_SHARE = 9


class UnknownProblemError(LidrError):
    """No problem of the lab has this id."""


class Numbers(NamedTuple):
    """Operands and results of one calculation; `c` and `first` (the first step's result) are 0 if unused."""

    a: int
    b: int
    c: int
    first: int
    result: int


@dataclass(frozen=True)
class Problem:
    """A story, the same in all languages; `phrasing`, `name` and `thing` are indices."""

    id: str
    skill: str
    phrasing: int
    name: int
    thing: int
    numbers: Numbers
    answer: int


def solve(skill: str, a: int, b: int, c: int = 0) -> Numbers:
    """The right numbers for a skill's operands."""
    if skill == "add":
        return Numbers(a, b, 0, 0, a + b)
    if skill == "subtract":
        return Numbers(a, b, 0, 0, a - b)
    if skill == "multiply":
        return Numbers(a, b, 0, 0, a * b)
    return Numbers(a, b, c, a + b, a + b - c)


def operand_pairs(skill: str, numbers: Numbers) -> tuple[tuple[int, int], ...]:
    """The operands of each step, smaller first."""
    pairs = [(numbers.a, numbers.b)]
    if skill == "add_subtract":
        pairs.append((numbers.first, numbers.c))
    return tuple((min(pair), max(pair)) for pair in pairs)


@cache
def _bucket(low: int, high: int) -> int:
    digest = hashlib.sha256(f"lidr-lab {low} {high}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100


def is_held_out(skill: str, numbers: Numbers) -> bool:
    """Whether any step uses a pair of operands that belongs to the test split."""
    return any(_bucket(*pair) < _TEST_SHARE for pair in operand_pairs(skill, numbers))


def is_practised(skill: str, numbers: Numbers) -> bool:
    """Whether the pretraining corpus may answer it: neither held out nor left for the loop to meet first."""
    return all(_bucket(*pair) >= _TEST_SHARE + _UNPRACTISED_SHARE for pair in operand_pairs(skill, numbers))


@cache
def combinations(skill: str) -> tuple[Numbers, ...]:
    """All calculations of a skill, in a fixed order."""
    if skill == "add":
        operands = [(a, b, 0) for a in range(10, 60) for b in range(10, 60) if a + b <= HIGHEST]
    elif skill == "subtract":
        operands = [(a, b, 0) for a in range(20, HIGHEST + 1) for b in range(10, 60) if a - b >= 10]
    elif skill == "multiply":
        operands = [(a, b, 0) for a in range(10, 50) for b in range(2, 10) if a * b <= HIGHEST]
    else:
        steps = [(a, b) for a in range(10, 50) for b in range(10, 50) if a + b <= HIGHEST]
        operands = [(a, b, c) for a, b in steps for c in range(10, 50) if a + b - c >= 10]
    return tuple(solve(skill, *operand) for operand in operands)


def _cell(split: str, skill: str, phrasing: int, size: int) -> list[tuple[Numbers, int, int]]:
    """`size` distinct (numbers, name, thing) of one skill and phrasing."""
    rng = random.Random(f"lidr-lab {split} {skill} {phrasing}")
    wanted = [n for n in combinations(skill) if _in_split(split, skill, n)]
    stories: dict[tuple[Numbers, int, int], None] = {}
    while len(stories) < size:
        story = (rng.choice(wanted), rng.randrange(len(NAMES)), rng.randrange(len(OBJECTS)))
        stories[story] = None
    return list(stories)


def _in_split(split: str, skill: str, numbers: Numbers) -> bool:
    if split == "train":
        return not is_held_out(skill, numbers)
    return _bucket(*operand_pairs(skill, numbers)[0]) < _TEST_SHARE


@cache
def problems(split: Literal["train", "test"]) -> tuple[Problem, ...]:
    """All problems of a split, in a fixed order; each 16 in turn hold every skill and phrasing once."""
    if split not in SIZES:
        raise LidrError(f"The lab has no split {split!r}.", instead="use 'train' or 'test'")
    kinds = [(skill, phrasing) for skill in SKILLS for phrasing in range(PHRASINGS)]
    rounds = SIZES[split] // len(kinds)
    cells = {kind: _cell(split, *kind, rounds) for kind in kinds}
    rng = random.Random(f"lidr-lab {split} order")
    made: list[Problem] = []
    for turn in range(rounds):
        for kind in rng.sample(kinds, len(kinds)):
            numbers, name, thing = cells[kind][turn]
            identity = f"lab-{split}-{len(made):06d}"
            made.append(Problem(identity, *kind, name, thing, numbers, numbers.result))
    return tuple(made)


@cache
def _index() -> dict[str, Problem]:
    return {problem.id: problem for split in ("train", "test") for problem in problems(split)}


def find_problem(identity: str) -> Problem:
    """The problem with this id.

    Raises:
        UnknownProblemError: there is none.
    """
    problem = _index().get(identity)
    if problem is None:
        raise UnknownProblemError(
            f"No lab problem has the id {identity!r}.",
            instead=f"use 'lab-train-000000' to 'lab-train-{SIZES['train'] - 1:06d}', "
            f"or 'lab-test-000000' to 'lab-test-{SIZES['test'] - 1:06d}'",
        )
    return problem


def _check_language(language: str) -> None:
    if language not in LANGUAGES:
        raise LidrError(f"The lab does not speak {language!r}.", instead=f"use one of {', '.join(LANGUAGES)}")


def render_prompt(problem: Problem, language: str) -> str:
    """The story and its question."""
    _check_language(language)
    n, thing = problem.numbers, problem.thing
    how = how_many(thing, language)
    starts_sentence = language != "zh"
    fields = {
        "A": count(n.a, thing, language),
        "B": count(n.b, thing, language),
        "Ao": count(n.a, thing, language, accusative=True),
        "Bo": count(n.b, thing, language, accusative=True),
        "How": how[0].upper() + how[1:] if starts_sentence else how,
    }
    fields |= name_fields(problem.name, language) | counter_fields(n.b, thing, language)
    return PROMPTS[problem.skill][language][problem.phrasing].format(a=n.a, b=n.b, c=n.c, **fields)


def render_answer(problem: Problem, language: str) -> str:
    """The correct answer."""
    return render_solution(problem.skill, problem.numbers, problem.thing, language)


def render_solution(skill: str, numbers: Numbers, thing: int, language: str) -> str:
    """An answer that reports these numbers, right or wrong."""
    _check_language(language)
    n = numbers
    sentence = ANSWERS[skill][language].format(
        a=n.a, b=n.b, c=n.c, s=n.first, R=count(n.result, thing, language)
    )
    return sentence + ANSWER_LINES[language].format(r=n.result)
