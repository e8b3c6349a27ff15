"""The benchmark kind of MGSM, from configuration to scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import BenchmarkKind, RunConfig
from lidr.errors import LidrError
from lidr.evaluation.arithmetic import METRICS, outcome
from lidr.evaluation.run import benchmark_prompts, score
from lidr.records import Prompt, Response
from tests.prompts.make import official

LANGUAGES = ("en", "de", "zh")
GERMAN = "Sie verkauft neun Eier am Tag und verdient damit achtzehn Dollar."
ENGLISH = "She sells nine eggs every day and makes eighteen dollars with them."


def response(text: str, finish_reason: str = "stop") -> Response:
    return Response("0", "de", "Frage?", text, finish_reason, 9)


def values(text: str, answer: str | None = "18", finish_reason: str = "stop") -> dict[str, float]:
    return dict(outcome(Prompt("0", "de", "Frage?", answer), response(text, finish_reason), LANGUAGES).values)


def test_right_and_on_target() -> None:
    found = values(f"{GERMAN}\nAntwort: 18")
    assert {k: v for k, v in found.items() if v} == {"accuracy": 1.0, "joint": 1.0}
    assert set(found) == set(METRICS)


def test_right_in_another_language() -> None:
    found = values(f"{ENGLISH}\n{ENGLISH}\n{GERMAN}\nThe answer is 18")
    assert (found["accuracy"], found["joint"], found["off_target"]) == (1, 0, 1)
    assert found["off_target_lines"] == pytest.approx(3 / 4)


def test_without_words_the_language_is_undetermined() -> None:
    found = values("9 * 2 = 18")
    assert (found["accuracy"], found["joint"], found["undetermined"], found["off_target"]) == (1, 0, 1, 0)
    assert "off_target_lines" not in found


def test_no_number_is_wrong_and_counted() -> None:
    found = values(GERMAN, finish_reason="length")
    assert (found["accuracy"], found["extraction_failed"], found["truncated"]) == (0, 1, 1)


def test_numbers_that_are_equal_are_right() -> None:
    assert values("Antwort: 1.450,00", answer="1,450")["accuracy"] == 1
    assert values("Antwort: 1,450", answer="1,450")["accuracy"] == 0


@pytest.mark.parametrize("answer", [None, "", "eighteen"])
def test_a_prompt_without_a_number_is_a_clear_error(answer: str | None) -> None:
    with pytest.raises(LidrError, match=r"de 0: .* is no number -> name the key of the numbers"):
        values("18", answer)


@pytest.fixture
def config() -> RunConfig:
    overrides = ["evaluation=[mgsm]", "languages.non_dominant=[de]", "languages.unseen=[zh]", "tracking=none"]
    return compose_run([*overrides, "paths.data=.", "model=lab"])


def test_scores_by_language_with_gap_and_unseen(config: RunConfig, tmp_path: Path) -> None:
    benchmark = config.evaluation["mgsm"]
    assert benchmark.kind is BenchmarkKind.ARITHMETIC
    prompts = {code: [Prompt(str(i), code, f"{code} {i}", "18") for i in range(4)] for code in LANGUAGES}
    right = {"en": 4, "de": 1, "zh": 0}
    (tmp_path / "mgsm").mkdir()
    for code, own in prompts.items():
        texts = ["Answer: 18" if i < right[code] else "Answer: 7" for i in range(4)]
        jsonl.write(
            tmp_path / "mgsm" / f"{code}.jsonl",
            (
                {
                    "id": p.id,
                    "language": code,
                    "prompt": p.prompt,
                    "response": t,
                    "finish_reason": "stop",
                    "tokens": 3,
                }
                for p, t in zip(own, texts, strict=True)
            ),
        )
    scores = score(benchmark, prompts, tmp_path / "mgsm", config.languages, 1)
    found = {(s.language, s.metric): s.value for s in scores}
    assert found["de", "accuracy"] == 0.25
    assert found["mean unseen", "accuracy"] == 0
    assert found["all", "imbalance_gap"] == 0.75


def test_the_official_files_are_read_in_all_languages() -> None:
    codes = ("en", "de", "es", "fr", "ru", "zh", "ja", "th", "sw", "bn", "te")
    unseen = f"languages.unseen=[{','.join(codes[2:])}]"
    where = f"paths.data={official()}"
    composed = compose_run(
        ["evaluation=[mgsm]", "tracking=none", where, "languages.non_dominant=[de]", unseen]
    )
    prompts = benchmark_prompts(composed.evaluation["mgsm"], composed.languages, 0)
    assert {code: len(own) for code, own in prompts.items()} == dict.fromkeys(codes, 250)
    assert "Write every word of your answer in Telugu" in prompts["te"][0].prompt
