from __future__ import annotations

import dataclasses
import json
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import BenchmarkKind, RunConfig, SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.errors import LidrError
from lidr.evaluation import collect_scores, read_results, write_results
from lidr.evaluation.outcomes import read as read_outcomes
from lidr.evaluation.reward_accuracy import reward_accuracy
from lidr.evaluation.run import answer, benchmark_prompts, evaluate, score
from lidr.evaluation.scores import Score, imbalance_gap
from lidr.lab.world import find_problem, problems, render_answer, render_prompt
from lidr.records import Pair, Prompt, to_json


class LabEngine:
    """Right in en, off target in ru, wrong in zh, cut in de; counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.sampling: SamplingConfig | None = None

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        self.sampling = sampling
        for request in requests:
            if request.key not in done:
                self.asked += 1
                yield [self._complete(request)]

    def _complete(self, request: Request) -> Completion:
        problem = find_problem(request.key)
        language = next(
            c for c in ("en", "es", "de", "fr", "ru", "zh") if render_prompt(problem, c) == request.user
        )
        text = render_answer(problem, "en" if language == "ru" else language)
        if language == "zh":
            text = text.replace(str(problem.answer), "999")
        reason = FinishReason.LENGTH if language == "de" else FinishReason.STOP
        return Completion(request.key, text, reason, 7)


@pytest.fixture
def config() -> RunConfig:
    return compose_run(["tracking=none", "evaluation.lab.prompts.limit=8"])


def find(scores: Sequence[Score], language: str, metric: str) -> Score:
    (found,) = [s for s in scores if (s.language, s.metric) == (language, metric)]
    return found


def test_answers_are_scored_from_what_is_stored(config: RunConfig, tmp_path: Path) -> None:
    engine = LabEngine()
    scores = evaluate(config, 0, lambda: engine, tmp_path / "evaluation", tmp_path / "pairs")
    assert engine.sampling == SamplingConfig(64, 1.0)
    assert find(scores, "en", "accuracy").value == 1
    assert (find(scores, "ru", "accuracy").value, find(scores, "ru", "joint").value) == (1, 0)
    assert find(scores, "ru", "off_target").value == 1
    assert find(scores, "zh", "accuracy").value == 0
    assert find(scores, "de", "truncated").value == 1
    assert find(scores, "mean non-dominant", "joint").value == pytest.approx(0.75)
    assert find(scores, "mean unseen", "accuracy").value == 0
    assert find(scores, "all", imbalance_gap("accuracy")).value == 0
    assert find(scores, "all", "imbalance_gap_joint").value == pytest.approx(0.25)
    assert {s.n for s in scores} == {8}
    assert {(s.benchmark, s.iteration) for s in scores} == {("lab", 0)}
    assert len(read_outcomes(tmp_path / "evaluation" / "lab")) == 6 * 8


def test_a_second_evaluation_loads_no_model_and_says_the_same(config: RunConfig, tmp_path: Path) -> None:
    folder = tmp_path / "iteration-0" / "evaluation"
    first = evaluate(config, 0, LabEngine, folder, tmp_path / "pairs")
    files = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def refuse() -> LabEngine:
        raise AssertionError("no model is needed")

    assert evaluate(config, 0, refuse, folder, tmp_path / "pairs") == first
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == files
    assert collect_scores(tmp_path) == first


def test_answering_goes_on_where_it_was_cut_off(config: RunConfig, tmp_path: Path) -> None:
    benchmark = config.evaluation["lab"]
    prompts = benchmark_prompts(benchmark, config.languages, 0)
    answer(benchmark, prompts, LabEngine(), tmp_path / "lab")
    path = tmp_path / "lab" / "fr.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\n") + 20])
    (tmp_path / "lab" / "zh.jsonl").unlink()
    engine = LabEngine()
    answer(benchmark, prompts, engine, tmp_path / "lab")
    assert engine.asked == 7 + 8
    assert path.read_bytes() == whole


def test_a_stored_answer_to_another_prompt_is_refused(config: RunConfig, tmp_path: Path) -> None:
    benchmark = config.evaluation["lab"]
    prompts = benchmark_prompts(benchmark, config.languages, 0)
    answer(benchmark, prompts, LabEngine(), tmp_path / "lab")
    path = tmp_path / "lab" / "es.jsonl"
    records = list(jsonl.read(path))
    jsonl.write(path, [records[0] | {"prompt": "another"}, *records[1:]])
    with pytest.raises(LidrError, match="answers another text"):
        score(benchmark, prompts, tmp_path / "lab", config.languages, 0)
    jsonl.write(path, records[1:])
    with pytest.raises(LidrError, match="has no answer"):
        score(benchmark, prompts, tmp_path / "lab", config.languages, 0)


def test_languages_of_a_benchmark_can_be_fewer_than_the_runs(config: RunConfig, tmp_path: Path) -> None:
    benchmark = dataclasses.replace(config.evaluation["lab"], languages=("es", "zh"))
    prompts = benchmark_prompts(benchmark, config.languages, 0)
    answer(benchmark, prompts, LabEngine(), tmp_path / "lab")
    scores = score(benchmark, prompts, tmp_path / "lab", config.languages, 1)
    assert {s.language for s in scores} == {"es", "zh", "mean non-dominant", "mean unseen"}


def test_prompts_without_numbers_are_no_lab(config: RunConfig, tmp_path: Path) -> None:
    benchmark = config.evaluation["lab"]
    prompts = {
        "en": [dataclasses.replace(benchmark_prompts(benchmark, config.languages, 0)["en"][0], answer=None)]
    }
    answer(benchmark, prompts, LabEngine(), tmp_path / "lab")
    with pytest.raises(LidrError, match="no whole number"):
        score(benchmark, prompts, tmp_path / "lab", config.languages, 0)


def test_fidelity_counts_what_cannot_be_told_apart(config: RunConfig, tmp_path: Path) -> None:
    texts = {
        "on": ("Das ist eine ausführliche Antwort auf die Frage nach dem Wetter.", "stop"),
        "off": ("This is a long answer to the question about the weather today.", "length"),
        "number": ("42", "stop"),
        "empty": (" \n", "stop"),
    }
    benchmark = dataclasses.replace(config.evaluation["lab"], kind=BenchmarkKind.FIDELITY)
    prompts = {"de": [Prompt(name, "de", f"Frage {name}?") for name in texts]}
    (tmp_path / "open").mkdir()
    records = [
        {"id": n, "language": "de", "prompt": f"Frage {n}?", "response": t, "finish_reason": f, "tokens": 3}
        for n, (t, f) in texts.items()
    ]
    jsonl.write(tmp_path / "open" / "de.jsonl", records)
    scores = score(benchmark, prompts, tmp_path / "open", config.languages, 0)
    values = {s.metric: s.value for s in scores if s.language == "de"}
    assert values == {
        "on_target": 0.25,
        "off_target": 0.25,
        "undetermined": 0.5,
        "off_target_lines": 0.5,
        "empty": 0.25,
        "truncated": 0.25,
        "characters": sum(len(t) for t, _ in texts.values()) / 4,
        "tokens": 3,
    }
    assert find(scores, "mean non-dominant", "tokens").low == 3


def pair(identity: str, language: str, chosen: str, rejected: str) -> Pair:
    return Pair(identity, language, "x", f"Answer: {chosen}", f"Answer: {rejected}", "en", language)


def test_reward_accuracy_looks_at_pairs_in_which_one_is_right(config: RunConfig) -> None:
    pairs = [
        pair("a", "es", "1", "0"),
        pair("b", "es", "2", "2"),
        pair("c", "es", "0", "3"),
        pair("a", "en", "1", "0"),
        pair("a", "en", "1", "5"),
        pair("unknown", "en", "1", "5"),
    ]
    scores = reward_accuracy(pairs, {"a": 1, "b": 2, "c": 3}, config.languages, 2)
    assert find(scores, "es", "reward_accuracy").value == 0.5
    assert find(scores, "es", "decided").value == pytest.approx(2 / 3)
    assert find(scores, "es", "rejected_correct").value == pytest.approx(2 / 3)
    assert (find(scores, "en", "chosen_correct").value, find(scores, "en", "chosen_correct").n) == (1, 1)
    assert find(scores, "all", "reward_accuracy").value == 0.75
    assert find(scores, "nl pairs", "reward_accuracy").n == 2
    assert {s.language for s in scores} == {"es", "en", "nl pairs", "all"}


def test_pairs_of_the_iteration_are_scored_with_its_prompts(config: RunConfig, tmp_path: Path) -> None:
    problem = problems("train")[0]
    for name, record in (
        ("prompts/en", Prompt(problem.id, "en", "x", str(problem.answer))),
        ("pairs/pairs", pair(problem.id, "es", str(problem.answer), "0")),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        jsonl.write(tmp_path / f"{name}.jsonl", [to_json(record)])
    scores = evaluate(config, 1, LabEngine, tmp_path / "evaluation", tmp_path / "pairs")
    assert [s.value for s in scores if s.metric == "reward_accuracy" and s.language == "es"] == [1]


def test_results_are_written_sorted_and_read_back(config: RunConfig, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    scores = [
        Score("lab", "es", 1, "accuracy", 0.5, 0.4, 0.6, 9),
        Score("lab", "es", 0, "accuracy", None, None, None, 0),
    ]
    write_results(path, scores, config)
    results = read_results(path)
    assert list(results.scores) == [scores[1], scores[0]]
    assert results.meta["experiment"] == config.name
    assert results.meta["detector"].startswith("majority of lingua")
    assert results.meta["versions"]["lidr"]
    assert json.loads(path.read_text())["schema"] == 1
    first = path.read_bytes()
    write_results(path, reversed(scores), config)
    assert path.read_bytes() == first
    write_results(path, [], config)
    assert read_results(path).scores == ()


def test_results_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for text in ("[]", "{", '{"schema": 99}', '{"schema": 1, "scores": [{"metric": "x"}]}'):
        path.write_text(text)
        with pytest.raises(LidrError, match=r"results\.json"):
            read_results(path)


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("evaluation=[lab]", ["lab"]),
        ("evaluation=[lab,fidelity]", ["lab", "fidelity"]),
        ("evaluation=[]", []),
    ],
)
def test_benchmarks_are_chosen_as_a_list(override: str, names: list[str]) -> None:
    config = compose_run([override, "paths.data=/data"])
    assert list(config.evaluation) == names
    assert all(str(b.kind) == name for name, b in config.evaluation.items())
    if "fidelity" in names:
        assert config.evaluation["fidelity"].prompts.root == "/data"


def test_a_run_without_benchmarks_has_no_scores(tmp_path: Path) -> None:
    config = compose_run(["evaluation=[]"])
    assert evaluate(config, 0, LabEngine, tmp_path / "evaluation", tmp_path / "pairs") == []
