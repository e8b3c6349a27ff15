"""Later turns of conversations and judges' questions, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lidr.__main__ import main
from lidr.compose import compose_judging, compose_run
from lidr.config import RunConfig
from lidr.estimate import Need, Range, estimate
from lidr.estimate.assumed import TEMPLATE_TOKENS
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from tests.estimate.conftest import Make
from tests.estimate.make import FRAME

PRICED = ["judges.openai.engine.endpoint.price_input=2", "judges.openai.engine.endpoint.price_output=8"]


@pytest.fixture
def talk(tiny_run: Make, tmp_path: Path) -> RunConfig:
    """Two conversations of two turns and one of one, in en and es; M_0 alone."""
    (tmp_path / "mt_bench").mkdir()
    turns = [["abc", "de"], ["fghi", "j"], ["k"]]
    for code in ("en", "es"):
        lines = [json.dumps({"question_id": i, "turns": t}) + "\n" for i, t in enumerate(turns)]
        (tmp_path / "mt_bench" / f"{code}.jsonl").write_text("".join(lines), encoding="utf-8")
    more = "evaluation.mt_bench.max_new_tokens=10"
    return tiny_run("evaluation=[mt_bench]", "iterations=0", f"paths.data={tmp_path}", more)


def evaluation(config: RunConfig) -> Need:
    (found,) = (e.need for e in estimate(config).stages if e.stage.kind is StageKind.EVALUATION)
    return found


def test_second_turns_are_asked_after_the_models_own_answers(talk: RunConfig) -> None:
    found = evaluation(talk)
    assert found.requests == Range.exact(2 * (3 + 2))
    first = 3 * FRAME + len("abcfghik")
    second = 2 * 2 * FRAME - 2 + len("abcdefghij")  # the text begins once
    assert found.answer_tokens == Range.exact(2 * 5 * 10), "each as long as it may be"
    assert found.prompt_tokens.expected == pytest.approx(2 * (first + second + 2 * 10), abs=8)


def test_a_second_turn_that_is_answered_is_not_asked_again(talk: RunConfig) -> None:
    run = RunDirectory.of(talk)
    folder = run.folder(Stage(StageKind.EVALUATION, 0)) / "mt_bench"
    folder.mkdir(parents=True)
    (folder / "en.turn-2.jsonl").write_text(json.dumps({"id": "0"}) + "\n", encoding="utf-8")
    assert evaluation(talk).requests == Range.exact(2 * (3 + 2) - 1)


def judged(config: RunConfig, *overrides: str) -> dict[str, Need]:
    return dict(estimate(config, judging=compose_judging(list(overrides))).judges)


@pytest.fixture
def lab(tmp_path: Path) -> RunConfig:
    """M_0 and M_1 on 8 problems in six languages, 10 prompts in five."""
    return compose_run(
        ["iterations=1", "prompts.limit=10", "evaluation.lab.prompts.limit=8", f"paths.outputs={tmp_path}"]
    )


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], 6 * 8 * 2),  # M_1 against M_0, in both orders
        (["both_orders=false"], 6 * 8),
        (["opponents=[initial,previous]", "codes=[en,es]"], 2 * 2 * 8 * 2),
        (["opponents=[builtin:lab]"], 2 * 6 * 8 * 2),
        (["tasks=[ratings]"], 2 * 6 * 8),
        (["tasks=[ratings]", "limit=3", "iterations=[1]"], 6 * 3),
        (["tasks=[pairs]"], 5 * 10 * 0.92 * 2),
        (["tasks=[responses]"], 5 * 10 + 0.92 * 10 * (4 + 4)),
    ],
)
def test_questions_by_task(lab: RunConfig, overrides: list[str], expected: float) -> None:
    found = judged(lab, "judge=[oracle]", *overrides)["oracle"]
    assert found.requests.expected == pytest.approx(expected)
    assert found.prompt_tokens == Range.exact(0), "the lab's judge reads no tokens"
    assert found.cost == Range.exact(0)


def test_each_turn_of_a_conversation_is_rated(talk: RunConfig) -> None:
    found = judged(talk, "judge=[oracle]", "tasks=[ratings]")["oracle"]
    assert found.requests == Range.exact(2 * (3 + 2))


def test_tokens_and_money_of_a_judge_behind_a_server(lab: RunConfig) -> None:
    words = [
        "judge=[openai]",
        "judges.openai.engine.endpoint.model=x",
        "judges.openai.wording.rating='{prompt}{answer}'",
    ]
    short = "judges.openai.engine.sampling.max_new_tokens=100"
    unknown = judged(lab, *words, short, "tasks=[ratings]")["openai"]
    assert unknown.cost is None, "no price is known"
    assert unknown.answer_tokens == Range(96 * 10, 96 * 100, 96 * 100)
    assert unknown.prompt_tokens.expected > 96 * TEMPLATE_TOKENS.expected
    priced = judged(lab, *words, short, *PRICED, "tasks=[ratings]")["openai"]
    assert priced.cost is not None
    dollars = (2 * priced.prompt_tokens.expected + 8 * priced.answer_tokens.expected) / 1e6
    assert priced.cost.expected == pytest.approx(dollars)


def test_one_token_is_the_reply_of_a_judge_by_probabilities(lab: RunConfig) -> None:
    words = ["judge=[openai_logprobs]", "judges.openai_logprobs.engine.endpoint.model=x"]
    found = judged(lab, *words)["openai_logprobs"]
    assert found.requests == Range(0, 96, 96), "answers that are the same are not asked about"
    assert found.answer_tokens == Range(0, 96, 96)


def test_lidr_check_shows_judges(lab: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "iterations=1", "evaluation.lab.prompts.limit=8", f"paths.outputs={tmp_path}"]
    said = "judge=[openai] judges.openai.engine.endpoint.model=x tasks=[ratings]"
    assert main([*words, "--judge", said]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("openai"))
    assert row.split()[1] == "96"
    assert row.split()[-1] == "unknown"
    assert main([*words, "--json", f"--judge={said}"]) == 0
    assert json.loads(capsys.readouterr().out)["judges"]["openai"]["cost"] is None


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("judge=[orcale]", "did you mean 'oracle'"),
        ("judge=[oracle", "--judge"),
        ("judge=[oracle] benchmarks=[lba]", "'lba' is none of the run lab -> did you mean 'lab'"),
        ("'", "cannot be read"),
        ("", "names no judge"),
    ],
)
def test_a_mistake_about_judges_is_a_line(said: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--judge", said]) in (1, 2)
    out = capsys.readouterr().err
    assert what in out or "judge" in out
    assert "Traceback" not in out
    assert len(out.splitlines()) == 1
