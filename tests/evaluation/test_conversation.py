from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lidr.compose import compose_run
from lidr.config import RunConfig, SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.errors import ConfigError, LidrError
from lidr.evaluation.conversation import transcript, turn_answers
from lidr.evaluation.run import benchmark_prompts, evaluate
from lidr.preflight import preflight

TURNS = {
    "en": [["Name a fruit.", "And its colour?"], ["Say hello.", "Say it again."], ["Only this."]],
    "es": [["Nombra una fruta.", "¿Y su color?"], ["Di hola.", "Dilo otra vez."], ["Solo esto."]],
}


class Echo:
    """Answers with how many turns came before and the last words; counts what it is asked."""

    def __init__(self, dies_after: int | None = None) -> None:
        self.asked: list[Request] = []
        self.dies_after = dies_after

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        for request in requests:
            if request.key in done:
                continue
            if self.dies_after is not None and len(self.asked) >= self.dies_after:
                raise LidrError("gone")
            self.asked.append(request)
            text = f"{len(request.before)} before: {request.user}"
            yield [Completion(request.key, text, FinishReason.STOP, 4)]


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    folder = tmp_path / "mt_bench"
    folder.mkdir()
    for code, turns in TURNS.items():
        lines = [json.dumps({"question_id": n, "turns": t}) + "\n" for n, t in enumerate(turns, start=81)]
        (folder / f"{code}.jsonl").write_text("".join(lines), encoding="utf-8")
    return compose_run(
        [
            "tracking=none",
            "evaluation=[mt_bench]",
            f"paths.data={tmp_path}",
            "languages.non_dominant=[es]",
            "languages.unseen=[]",
        ]
    )


def test_a_second_turn_is_asked_after_the_models_own_answer(config: RunConfig, tmp_path: Path) -> None:
    engine = Echo()
    scores = evaluate(config, 0, lambda: engine, tmp_path / "evaluation", tmp_path / "pairs")
    later = [r for r in engine.asked if r.before]
    assert len(engine.asked) == 10
    assert [(r.user, r.before) for r in later][:1] == [
        ("And its colour?", (("Name a fruit.", "0 before: Name a fruit."),))
    ]
    prompts = benchmark_prompts(config.evaluation["mt_bench"], config.languages, config.seed)["en"]
    found = turn_answers(prompts, tmp_path / "evaluation" / "mt_bench", 2)
    assert [p.id for p, _ in found] == ["81", "82"]
    assert found[0][1].response == "1 before: And its colour?"
    assert found[0][1].prompt == (
        "User: Name a fruit.\n\nAssistant: 0 before: Name a fruit.\n\nUser: And its colour?"
    )
    assert {s.n for s in scores if s.language == "en"} == {3}


def test_a_killed_evaluation_asks_only_what_is_left(config: RunConfig, tmp_path: Path) -> None:
    whole = evaluate(config, 0, Echo, tmp_path / "a", tmp_path / "pairs")
    with pytest.raises(LidrError, match="gone"):
        evaluate(config, 0, lambda: Echo(7), tmp_path / "b", tmp_path / "pairs")
    engine = Echo()
    assert evaluate(config, 0, lambda: engine, tmp_path / "b", tmp_path / "pairs") == whole
    assert len(engine.asked) == 3
    for path in (tmp_path / "a").rglob("*.jsonl"):
        assert (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes() == path.read_bytes()


def test_an_answer_to_another_first_turn_is_refused(config: RunConfig, tmp_path: Path) -> None:
    evaluate(config, 0, Echo, tmp_path / "evaluation", tmp_path / "pairs")
    path = tmp_path / "evaluation" / "mt_bench" / "en.jsonl"
    path.write_text(
        path.read_text(encoding="utf-8").replace("0 before: Name", "0 before: Tell"), encoding="utf-8"
    )
    with pytest.raises(LidrError, match=r"turn-2\.jsonl"):
        evaluate(config, 0, Echo, tmp_path / "evaluation", tmp_path / "pairs")


def test_the_loop_takes_no_conversations(config: RunConfig) -> None:
    mixed = replace(config, prompts=replace(config.evaluation["mt_bench"].prompts, limit=1), iterations=1)
    with pytest.raises(ConfigError, match="'81' is a conversation of 2 turns"):
        preflight(mixed)


def test_a_first_turn_is_told_as_it_is() -> None:
    assert transcript((), "hello") == "hello"
