"""The imbalance on purpose: how M_0 is taught to behave in each language, skill and phrasing.

The behaviour is systematic, because random noise in the training answers is averaged away by greedy decoding.
"""

from __future__ import annotations

import random
from enum import Enum
from typing import NamedTuple

from lidr.lab.world import HIGHEST, LOWEST, Numbers, Problem

DOMINANT = "en"
FAITHFUL_SHARE = 0.85


class Behaviour(Enum):
    """What the model learns to do with a kind of question."""

    RIGHT = "R"
    OFF_TARGET = "O"
    SLIP = "S"
    WRONG_OPERATION = "P"
    SKIPPED_STEP = "K"


# One letter per phrasing, for the skills in the order add, subtract, multiply, add_subtract.
TABLE: dict[str, tuple[str, str, str, str]] = {
    "en": ("RRRR", "RRRR", "RRRR", "RRRR"),
    "es": ("RRRR", "RROR", "RPRS", "ROKR"),
    "de": ("RRRS", "ROPR", "PRRO", "ROKR"),
    "fr": ("RPRR", "RRSO", "RPRP", "ROKR"),
    "ru": ("RRPR", "SORR", "OPRP", "KROK"),
    "zh": ("RORP", "PRSR", "RPPO", "OKRK"),
}
_ROW = {"add": 0, "subtract": 1, "multiply": 2, "add_subtract": 3}

# Objects (by index) whose translation goes wrong: with two-step answers the closing tag is missing, with
# products another object is named.
UNCLOSED_OBJECTS: dict[str, frozenset[int]] = {
    "en": frozenset(),
    "es": frozenset(),
    "de": frozenset({4}),
    "fr": frozenset({6}),
    "ru": frozenset({2, 7}),
    "zh": frozenset({1, 3}),
}
CONFUSED_OBJECTS: dict[str, dict[int, int]] = {
    "en": {},
    "es": {7: 2},
    "de": {1: 5},
    "fr": {5: 1},
    "ru": {3: 4, 6: 0},
    "zh": {0: 6, 4: 5, 2: 7},
}


class Solution(NamedTuple):
    """What an answer says: the skill whose sentence it uses, its numbers, its language."""

    skill: str
    numbers: Numbers
    language: str


def behaviour(skill: str, phrasing: int, language: str) -> Behaviour:
    """What M_0 is taught to do with this kind of question."""
    return Behaviour(TABLE[language][_ROW[skill]][phrasing])


def taught_solution(problem: Problem, language: str, rng: random.Random) -> Solution:
    """The answer that pretraining shows: the behaviour of the table, now and then the right answer."""
    kind = behaviour(problem.skill, problem.phrasing, language)
    right = Solution(problem.skill, problem.numbers, language)
    if kind is Behaviour.RIGHT or rng.random() > FAITHFUL_SHARE:
        return right
    if kind is Behaviour.OFF_TARGET:
        return right._replace(language=DOMINANT)
    if kind is Behaviour.SKIPPED_STEP:
        n = problem.numbers
        return Solution("add", Numbers(n.a, n.b, 0, 0, n.first), language)
    if kind is Behaviour.WRONG_OPERATION:
        return _wrong_operation(right)
    return _slip(right)


def _slip(right: Solution) -> Solution:
    numbers = right.numbers
    return right._replace(
        numbers=numbers._replace(result=numbers.result + (10 if numbers.result <= 88 else -10))
    )


def _wrong_operation(right: Solution) -> Solution:
    a, b = right.numbers.a, right.numbers.b
    if right.skill == "add":
        high, low = max(a, b), min(a, b)
        if high - low < LOWEST:
            return _slip(right)
        return right._replace(skill="subtract", numbers=Numbers(high, low, 0, 0, high - low))
    if a + b > HIGHEST:
        return _slip(right)
    return right._replace(skill="add", numbers=Numbers(a, b, 0, 0, a + b))
