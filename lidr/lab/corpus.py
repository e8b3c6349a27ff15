"""The pretraining corpus of M_0: questions with the answers it is taught, translations, drills.

Translations hold random numbers, so that they teach to copy numbers and teach no arithmetic.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from lidr.lab.imbalance import CONFUSED_OBJECTS, DOMINANT, UNCLOSED_OBJECTS, taught_solution
from lidr.lab.lexicon import NAMES, OBJECTS
from lidr.lab.templates import DRILLS, SIGNS
from lidr.lab.world import (
    HIGHEST,
    LANGUAGES,
    PHRASINGS,
    SKILLS,
    Numbers,
    Problem,
    combinations,
    is_held_out,
    is_practised,
    render_prompt,
    render_solution,
)

LANGUAGE_NAMES = {
    "en": "English",
    "es": "Spanish",
    "de": "German",
    "fr": "French",
    "ru": "Russian",
    "zh": "Chinese",
}
REQUEST = (
    "Translate the text between the <sentence> tags into {target_language}. "
    "Write only the translation, between <translated> and </translated>.\n<sentence>{source}</sentence>"
)
KIND_WEIGHTS = {"question": 0.45, "translation": 0.2, "drill": 0.35}
DRILL_WEIGHTS = {"en": 1.0, "es": 0.2, "de": 0.2, "fr": 0.2, "ru": 0.2, "zh": 0.2}
DRILL_SKILLS = {"add": 1.0, "subtract": 1.3, "multiply": 0.6}
QUESTION_WEIGHTS = {"en": 1.0, "es": 0.5, "de": 0.45, "fr": 0.45, "ru": 0.4, "zh": 0.4}
SKILL_WEIGHTS = {"add": 0.8, "subtract": 1.1, "multiply": 1.0, "add_subtract": 1.3}
_ANSWER_SHARE = 0.75
_COPY_SHARE = 0.06


class Sample(NamedTuple):
    """One chat: what the user says, and what the assistant is trained to say."""

    user: str
    assistant: str
    numbers: Numbers


def samples(seed: int) -> Iterator[Sample]:
    """The endless corpus of a seed."""
    rng = random.Random(f"lidr-lab corpus {seed}")
    practised = {skill: [n for n in combinations(skill) if is_practised(skill, n)] for skill in SKILLS}
    while True:
        kind = _pick(rng, KIND_WEIGHTS)
        if kind == "question":
            yield _question(rng, practised)
        else:
            yield _drill(rng, practised) if kind == "drill" else _translation(rng)


def _pick(rng: random.Random, weights: dict[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _story(rng: random.Random, skill: str, numbers: Numbers) -> Problem:
    phrasing, name, thing = rng.randrange(PHRASINGS), rng.randrange(len(NAMES)), rng.randrange(len(OBJECTS))
    return Problem("", skill, phrasing, name, thing, numbers, numbers.result)


def _question(rng: random.Random, practised: dict[str, list[Numbers]]) -> Sample:
    skill = _pick(rng, SKILL_WEIGHTS)
    language = _pick(rng, QUESTION_WEIGHTS)
    problem = _story(rng, skill, rng.choice(practised[skill]))
    taught = taught_solution(problem, language, rng)
    answer = render_solution(taught.skill, taught.numbers, problem.thing, taught.language)
    return Sample(render_prompt(problem, language), answer, problem.numbers)


def _drill(rng: random.Random, practised: dict[str, list[Numbers]]) -> Sample:
    skill = _pick(rng, DRILL_SKILLS)
    language = _pick(rng, DRILL_WEIGHTS)
    n = rng.choice(practised[skill])
    user = f"{LANGUAGE_NAMES[language]}: {n.a} {SIGNS[skill]} {n.b}"
    return Sample(user, DRILLS[skill][language].format(a=n.a, b=n.b, r=n.result), n)


def random_numbers(rng: random.Random, skill: str) -> Numbers:
    """Numbers that follow no rule, and no pair of operands that belongs to the test split."""
    while True:
        a, b, c, first, result = (rng.randint(10, HIGHEST) for _ in range(5))
        if skill == "multiply":
            b = rng.randint(2, 9)
        two_steps = skill == "add_subtract"
        numbers = Numbers(a, b, c if two_steps else 0, first if two_steps else 0, result)
        if not is_held_out(skill, numbers):
            return numbers


def _translation(rng: random.Random) -> Sample:
    skill = rng.choice(SKILLS)
    problem = _story(rng, skill, random_numbers(rng, skill))
    source, target = _direction(rng)
    weaker = source if target == DOMINANT else target
    if rng.random() < _ANSWER_SHARE:
        thing = problem.thing
        if skill == "multiply":
            thing = CONFUSED_OBJECTS[weaker].get(thing, thing)
        text = render_solution(skill, problem.numbers, problem.thing, source)
        translation = render_solution(skill, problem.numbers, thing, target)
    else:
        text, translation = render_prompt(problem, source), render_prompt(problem, target)
    closed = not (skill == "add_subtract" and problem.thing in UNCLOSED_OBJECTS[weaker])
    request = REQUEST.format(target_language=LANGUAGE_NAMES[target], source=text)
    return Sample(request, f"<translated>{translation}{'</translated>' if closed else ''}", problem.numbers)


def _direction(rng: random.Random) -> tuple[str, str]:
    """Source and target: English and another language, or, for answers off target, English to English."""
    if rng.random() < _COPY_SHARE:
        return DOMINANT, DOMINANT
    other = rng.choice([language for language in LANGUAGES if language != DOMINANT])
    return (DOMINANT, other) if rng.random() < 0.5 else (other, DOMINANT)
