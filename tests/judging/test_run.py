from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lidr.__main__ import main
from lidr.compose import compose_judging
from lidr.config.judge_schema import GatesConfig, JudgingConfig, JudgingTask, LabJudgeConfig
from lidr.errors import LidrError
from lidr.evaluation import read_results
from lidr.evaluation.scores import Score
from lidr.judging import run as judging
from lidr.judging.run import judge_run
from tests.judging.conftest import LANGUAGES, make_run


def config(judges: str = "oracle", *overrides: str) -> JudgingConfig:
    return compose_judging([f"judge=[{judges}]", "cache=null", *overrides])


def find(scores: Sequence[Score], benchmark: str, language: str, metric: str, t: int = 1) -> Score:
    key = (benchmark, language, metric, t)
    (found,) = [s for s in scores if (s.benchmark, s.language, s.metric, s.iteration) == key]
    return found


@pytest.fixture
def run(lab_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(lab_run, tmp_path / lab_run.name)


def test_the_oracle_says_what_is_true(run: Path) -> None:
    """M_0 is right in 3 of 10, M_1 in 2 of these and 4 others: it wins 4, loses 1 and ties the rest."""
    scores = judge_run(run, config())
    for code in LANGUAGES:
        win = find(scores, "lab vs initial@oracle", code, "win_rate")
        assert win.value == pytest.approx(0.4 + 0.5 / 2)
        assert win.n == 40
        assert win.low is not None
        assert win.low <= 0.65 <= (win.high or 0)
        assert win.p is not None
        assert win.p < 0.1
        assert find(scores, "lab vs initial@oracle", code, "win").value == pytest.approx(0.4)
        assert find(scores, "lab vs initial@oracle", code, "tie").value == pytest.approx(0.5)
        assert find(scores, "lab vs initial@oracle", code, "swap_consistency").value == 1.0
        assert find(scores, "lab vs initial@oracle", code, "unread").value == 0.0
    assert find(scores, "lab vs initial@oracle", "mean non-dominant", "win_rate").value == pytest.approx(0.65)


def test_scores_go_into_the_results_and_the_report(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judge", str(run), "judge=[oracle]", "cache=null"]) == 0
    shown = capsys.readouterr().out
    assert "lab vs initial@oracle, M_1" in shown
    assert "65.0 ±" in shown
    stored = read_results(run / "results.json").scores
    assert find(stored, "lab vs initial@oracle", "es", "win_rate").value == pytest.approx(0.65)
    assert any(s.benchmark == "lab" and s.metric == "accuracy" for s in stored)
    text = (run / "report" / "report.md").read_text(encoding="utf-8")
    assert "lab vs initial, judged by oracle" in text
    assert "65.0 [" in text


def test_pairs_and_responses_are_judged(run: Path) -> None:
    scores = judge_run(run, config("oracle", "tasks=[pairs,responses,ratings]"))
    for code in ("es", "de"):
        assert find(scores, "pairs@oracle", code, "reward_accuracy").value == 1.0
        assert find(scores, "pairs@oracle", code, "reward_accuracy").n == 20
        assert find(scores, "responses@oracle", code, "rating_self_generated").value == 4.0
        assert find(scores, "responses@oracle", code, "rating_self_translated").value == 10.0
    assert find(scores, "responses@oracle", "en", "rating_self_translated").value == 4.0
    assert find(scores, "lab@oracle", "es", "rating", t=0).value == pytest.approx(4 + 6 * 0.3)
    assert find(scores, "lab@oracle", "es", "rating").value == pytest.approx(4 + 6 * 0.6)
    assert not [s for s in scores if s.metric == "rating" and s.language.startswith("mean")]


def test_a_mean_of_ratings_is_asked_for_and_explained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["judge", str(run), "judge=[oracle]", "tasks=[ratings]", "mean_ratings=true", "cache=null"]
    assert main(words) == 0
    assert "a judge's scale differs between languages" in " ".join(capsys.readouterr().err.split())
    stored = read_results(run / "results.json").scores
    assert find(stored, "lab@oracle", "mean non-dominant", "rating").value == pytest.approx(7.6)


def test_what_was_asked_is_not_asked_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = judge_run(run, config())

    def no_engine(*_: object) -> object:
        raise AssertionError("asked again")

    monkeypatch.setattr(judging.judges, "_loader", lambda *_: no_engine)
    assert judge_run(run, config()) == first


def test_a_killed_judge_goes_on(run: Path) -> None:
    whole = judge_run(run, config())
    replies = sorted((run / "judging" / "oracle").rglob("*.jsonl"))
    stored = {path: path.read_bytes() for path in replies}
    path = next(p for p in replies if p.name == "es.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:20])
    assert judge_run(run, config()) == whole
    assert {p: p.read_bytes() for p in replies} == stored


def test_another_judge_under_the_same_name_is_refused(run: Path) -> None:
    judge_run(run, config())
    with pytest.raises(LidrError, match=r"judged here with other values.*lab\.noise is 0\.5, was 0\.0"):
        judge_run(run, config("oracle", "judges.oracle.lab.noise=0.5"))


def test_a_position_bias_shows_and_is_gated(run: Path) -> None:
    own = config("position_biased", "gates.swap_consistency=0.8", "opponents=[initial]")
    scores = judge_run(run, own)
    consistency = find(scores, "lab vs initial@position_biased", "es", "swap_consistency")
    assert consistency.value is not None
    assert consistency.value < 0.8
    assert consistency.gate is None
    win = find(scores, "lab vs initial@position_biased", "es", "win_rate")
    assert win.gate is not None
    assert win.gate.startswith("swap consistency 0.")
    mean = find(scores, "lab vs initial@position_biased", "mean non-dominant", "win_rate")
    assert "es: swap consistency" in (mean.gate or "")
    first = find(scores, "lab vs initial@position_biased", "es", "first_wins").value
    assert first is not None
    assert first > 0.6
    text = (run / "results.json").read_text(encoding="utf-8")
    assert json.loads(text)["scores"]
    assert "swap consistency" in text


def test_a_length_bias_is_for_the_wordier_model(tmp_path: Path) -> None:
    root = make_run(tmp_path, (5, 5), prompts=80, more="Well, let us count. ")
    scores = judge_run(root, config("length_biased,oracle"))
    for code in ("en", "es", "de"):
        biased = find(scores, "lab vs initial@length_biased", code, "win_rate").value or 0
        exact = find(scores, "lab vs initial@oracle", code, "win_rate").value or 0
        assert biased > exact + 0.1


def test_several_judges_agree_as_far_as_they_do(run: Path) -> None:
    scores = judge_run(run, config("oracle,noisy", "tasks=[comparisons,ratings]", "gates.alpha=0.9"))
    for code in LANGUAGES:
        kappa = find(scores, "lab vs initial@agreement", code, "kappa").value
        alpha = find(scores, "lab vs initial@agreement", code, "alpha").value
        assert kappa is not None
        assert alpha is not None
        assert 0.1 < kappa < 0.95
        assert alpha == pytest.approx(kappa, abs=0.25)
        gate = find(scores, "lab vs initial@oracle", code, "win_rate").gate
        assert gate == f"alpha of the judges {alpha:.2f} < 0.9"
        rated = find(scores, "lab@agreement", code, "alpha_rating").value
        assert rated is not None
        assert rated < 0.9
        assert find(scores, "lab@noisy", code, "rating").gate is not None


def test_three_judges_have_fleiss_kappa(run: Path) -> None:
    third = config("oracle,noisy,position_biased")
    scores = judge_run(run, third)
    assert find(scores, "lab vs initial@agreement", "es", "kappa").value is not None


def test_opponents_from_another_run_and_from_files(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", (0, 9), seed=1)
    scores = judge_run(run, config("oracle", f"opponents=[{other}]"))
    name = f"lab vs {other.name}@oracle"
    assert find(scores, name, "es", "win_rate").value == pytest.approx(0.5 - 0.3 / 2)
    assert find(scores, name, "es", "win_rate", t=0).value == pytest.approx(0.5 + 0.3 / 2)
    assert main(["outputs", str(other), "--out", str(tmp_path / "files")]) == 0
    pattern = f"{tmp_path}/files/lab/M_1/{{language}}.json"
    scores = judge_run(run, config("oracle", f"opponents=['{pattern}']"))
    assert find(scores, "lab@oracle", "es", "win_rate").value == pytest.approx(0.5 - 0.3 / 2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("opponents=[initail]",), "did you mean 'initial'"),
        (("benchmarks=[mgsm]",), "'mgsm' is no benchmark of the run lab"),
        (("opponents=['nowhere/{language}.json']",), r"nowhere/en\.json: cannot be read"),
        (("iterations=[7]",), "nothing that is to be judged is there yet"),
    ],
)
def test_mistakes_are_named(run: Path, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(LidrError, match=message):
        judge_run(run, config("oracle", *overrides))


def test_a_limit_draws_the_same_prompts_for_every_language_and_model(run: Path) -> None:
    own = config("oracle", "limit=7", "opponents=[initial]")
    judge_run(run, own)
    ids = set()
    for path in (run / "judging").rglob("comparisons/outcomes.jsonl"):
        by_language: dict[str, set[str]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            by_language.setdefault(record["language"], set()).add(record["id"])
        ids |= {frozenset(own) for own in by_language.values()}
    assert len(ids) == 1
    assert len(next(iter(ids))) == 7


def test_answers_that_are_the_same_are_not_asked_about(tmp_path: Path) -> None:
    root = make_run(tmp_path, (10, 10))
    scores = judge_run(root, config("position_biased"))
    win = find(scores, "lab vs initial@position_biased", "es", "win_rate")
    assert (win.value, win.p) == (0.5, 1.0)
    assert not (root / "judging/position_biased/iteration-1/lab-vs-initial/comparisons/es.jsonl").read_bytes()


def test_departures_have_the_shares_they_are_made_with(run: Path) -> None:
    """A third of noise: two in nine of the verdicts differ from the oracle's, in expectation."""
    own = config("noisy")
    noisy = replace(own.judges["noisy"], lab=LabJudgeConfig(noise=1.0, position_bias=0.0, length_bias=0.0))
    drawn = replace(own, judges={"noisy": noisy}, gates=GatesConfig(None, None))
    scores = judge_run(run, drawn)
    shares = [find(scores, "lab vs initial@noisy", c, "swap_consistency").value or 0 for c in LANGUAGES]
    assert sum(shares) / len(shares) == pytest.approx(1 / 3, abs=0.12)


def test_every_task_has_advice() -> None:
    own = config("oracle")
    for task in JudgingTask:
        assert judging._advice(replace(own, tasks=(task,)))
