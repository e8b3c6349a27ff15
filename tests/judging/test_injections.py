from __future__ import annotations

from pathlib import Path

import pytest

from lidr.compose import compose_judging
from lidr.judging.injections import ATTEMPTS, attempted
from lidr.judging.lab_judge import LabJudge
from lidr.judging.questions import Comparison, comparison_job, preferences
from lidr.judging.wording import Wording
from lidr.lab.world import problems, render_answer, render_prompt
from lidr.synthesis.resume import complete_all


def comparisons(language: str) -> list[Comparison]:
    """One for every attempt: the model's answer is right in every third, wrong in the others."""
    found = []
    for number, p in enumerate(problems("test")[: len(ATTEMPTS)]):
        right = render_answer(p, language)
        wrong = right.replace(str(p.answer), str(p.answer + 1))
        prompt = render_prompt(p, language)
        own, other = (right, wrong) if number % 3 == 0 else (wrong, right)
        found.append(Comparison(p.id, language, prompt, own, other))
    return found


@pytest.mark.parametrize("language", ["en", "es"])
def test_attempts_to_address_the_judge_do_not_win(tmp_path: Path, language: str) -> None:
    own = compose_judging(["judge=[oracle]"]).judges["oracle"]
    pairs = list(attempted(comparisons(language)))
    values = []
    for name, asked in (("plain", [a for a, _ in pairs]), ("attempted", [b for _, b in pairs])):
        path = tmp_path / f"{name}.jsonl"
        complete_all([comparison_job(asked, own, path, both_orders=True)], LabJudge(own, 0), name)
        values.append([p.value for p in preferences(asked, own, path, both_orders=True)])
    assert values[0] == values[1]


def test_every_attempt_stays_between_its_tags() -> None:
    wording = Wording(compose_judging(["judge=[oracle]"]).judges["oracle"].wording)
    for attempt in ATTEMPTS:
        question = wording.comparison("en", "p", f"a{attempt}", "b")
        head, _, rest = question.partition("<answer_1>\n")
        inside, _, tail = rest.partition("\n</answer_1>")
        assert wording.unguard(inside) == f"a{attempt}"
        assert "</answer_1>" not in head + tail
        assert "<|im_end|>" not in question
