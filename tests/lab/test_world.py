"""The world is parallel, its splits share no pair of operands, and its words agree."""

from itertools import islice

import pytest

from lidr.errors import LidrError
from lidr.lab import corpus
from lidr.lab.imbalance import Behaviour, behaviour, taught_solution
from lidr.lab.lexicon import RUSSIAN_OBJECTS, how_many, russian_count
from lidr.lab.templates import ANSWERS, PROMPTS
from lidr.lab.world import (
    LANGUAGES,
    PHRASINGS,
    SIZES,
    SKILLS,
    find_problem,
    is_held_out,
    operand_pairs,
    problems,
    render_answer,
    render_prompt,
    solve,
)


def test_every_skill_is_told_in_every_language() -> None:
    for skill in SKILLS:
        assert set(PROMPTS[skill]) == set(ANSWERS[skill]) == set(LANGUAGES)
        assert {len(templates) for templates in PROMPTS[skill].values()} == {PHRASINGS}


@pytest.mark.parametrize("split", ["train", "test"])
def test_prompts_hold_the_same_numbers_in_every_language(split: str) -> None:
    for problem in problems(split)[:320]:  # type: ignore[arg-type]
        numbers = [_numbers(render_prompt(problem, language)) for language in LANGUAGES]
        answers = [_numbers(render_answer(problem, language)) for language in LANGUAGES]
        assert all(n == numbers[0] for n in numbers)
        assert all(sorted(n) == sorted(answers[0]) for n in answers)


def _numbers(text: str) -> list[int]:
    return sorted(int(word) for word in "".join(c if c.isdigit() else " " for c in text).split())


@pytest.mark.parametrize(("split", "size"), SIZES.items())
def test_splits_are_distinct_and_even(split: str, size: int) -> None:
    made = problems(split)  # type: ignore[arg-type]
    assert len(made) == size
    assert len({render_prompt(problem, "en") for problem in made}) == size
    for start in range(0, size, 16):
        assert len({(p.skill, p.phrasing) for p in made[start : start + 16]}) == 16


def test_no_train_problem_uses_a_held_out_pair() -> None:
    held_out = {operand_pairs(p.skill, p.numbers)[0] for p in problems("test")}
    assert all(is_held_out(p.skill, p.numbers) for p in problems("test"))
    for problem in problems("train"):
        assert held_out.isdisjoint(operand_pairs(problem.skill, problem.numbers))


def test_the_pretraining_corpus_never_shows_a_test_prompt_or_pair() -> None:
    prompts = {render_prompt(p, language) for p in problems("test") for language in LANGUAGES}
    held_out = {operand_pairs(p.skill, p.numbers)[0] for p in problems("test")}
    for sample in islice(corpus.samples(0), 4000):
        assert sample.user not in prompts
        steps = operand_pairs("add_subtract" if sample.numbers.first else "add", sample.numbers)
        assert held_out.isdisjoint(steps)


def test_answers_are_right() -> None:
    for problem in problems("test"):
        n = problem.numbers
        assert solve(problem.skill, n.a, n.b, n.c) == n
        assert problem.answer == n.result >= 2


def test_problems_are_found_by_id() -> None:
    for problem in (*problems("train")[:3], *problems("test")[-3:]):
        assert find_problem(problem.id) is problem
    with pytest.raises(LidrError, match="lab-test-9"):
        find_problem("lab-test-9")


def test_unknown_languages_and_splits_are_refused() -> None:
    with pytest.raises(LidrError, match="'xx'"):
        render_prompt(problems("test")[0], "xx")
    with pytest.raises(LidrError, match="'dev'"):
        problems("dev")  # type: ignore[arg-type]


def test_words_agree_with_numbers_and_genders() -> None:
    book = RUSSIAN_OBJECTS[1]
    assert [russian_count(n, book) for n in (21, 22, 25, 11, 12)] == [
        "21 книга",
        "22 книги",
        "25 книг",
        "11 книг",
        "12 книг",
    ]
    assert russian_count(31, book, accusative=True) == "31 книгу"
    assert how_many(0, "es") == "cuántas manzanas"
    assert how_many(1, "es") == "cuántos libros"
    assert how_many(1, "zh") == "多少本书"


def test_the_dominant_language_is_taught_right_answers_only() -> None:
    cells = [(skill, phrasing) for skill in SKILLS for phrasing in range(PHRASINGS)]
    right = {x: sum(behaviour(*c, x) is Behaviour.RIGHT for c in cells) for x in LANGUAGES}
    assert right["en"] == len(cells)
    assert right["en"] > right["es"] > right["de"] >= right["fr"] > right["ru"] > right["zh"]


def test_taught_answers_follow_the_table() -> None:
    class Faithful:
        def random(self) -> float:
            return 0.0

    for problem in problems("train")[:160]:
        for language in LANGUAGES:
            kind = behaviour(problem.skill, problem.phrasing, language)
            taught = taught_solution(problem, language, Faithful())  # type: ignore[arg-type]
            right = taught.numbers.result == problem.answer
            assert right == (kind in (Behaviour.RIGHT, Behaviour.OFF_TARGET))
            assert (taught.language != language) == (kind is Behaviour.OFF_TARGET)
