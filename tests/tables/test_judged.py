"""Judged tables from runs whose truth is known: M_0 is right in 3 of 10 problems, M_1 in 2 of these and 4 others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lidr.__main__ import main
from lidr.compose import compose_judging
from lidr.evaluation import read_results
from lidr.judging.run import judge_run
from lidr.tables import Scale, read_table
from lidr.tables.calibrations import calibrations
from lidr.tables.editions import Source, named
from lidr.tables.frame import tidy
from lidr.tables.measure import Wanted, pooled
from tests.judging.conftest import make_run
from tests.tables.test_build import cell


def judge(run: Path, *overrides: str) -> None:
    judge_run(run, compose_judging(["cache=null", *overrides]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds, judged one protocol after the other: what was judged before stands."""
    root = tmp_path_factory.mktemp("judged")
    found = [make_run(root, (3, 6), prompts=20, seed=seed) for seed in (0, 1)]
    for run in found:
        judge(run, "judge=[oracle]", "opponents=[builtin:lab]", "codes=[es,ru]")
        judge(run, "judge=[oracle,noisy,position_biased]", "tasks=[pairs]", "codes=[es]")
    judge(found[0], "judge=[oracle_scores]", "opponents=[initial,previous]", "codes=[ru]")
    judge(found[0], "judge=[oracle]", "tasks=[ratings,responses]", "codes=[en,es]")
    judge(found[0], "judge=[oracle]", "tasks=[ratings]")
    judge(found[0], "judge=[oracle]", "codes=[es]")
    return found


def of(name: str, *runs: Path) -> pd.DataFrame:
    edition = named(read_table(name), list(runs))
    assert edition.scale is Scale.LAB
    return tidy(edition)


def test_against_right_answers_the_most_is_a_tie(runs: list[Path]) -> None:
    frame = of("x_alpacaeval", runs[0])
    assert cell(frame, "M_0", "es", "win_rate").ours == pytest.approx(0.3 / 2)
    found = cell(frame, "M_1", "ru", "win_rate")
    assert (found.ours, found.n) == (pytest.approx(0.6 / 2), 20)
    assert found.low < found.ours < found.high
    assert found.floor == pytest.approx((found.high - found.low) / 2**0.5)
    assert "judge oracle" in found.note


def test_head_to_head_is_the_other_judges(runs: list[Path]) -> None:
    frame = of("head_to_head", runs[0])
    found = [cell(frame, "M_1 vs M_0", "ru", metric).ours for metric in ("win", "tie", "lose")]
    assert found == pytest.approx([0.4, 0.5, 0.1])
    assert "judge oracle_scores" in cell(frame, "M_1 vs M_0", "ru", "win").note


def test_ratings_and_their_mean_over_languages(runs: list[Path]) -> None:
    frame = of("mt_bench", runs[0])
    assert cell(frame, "M_0", "zh", "rating").ours == pytest.approx(4 + 6 * 0.3)
    average = cell(frame, "M_1", "avg", "rating")
    assert average.ours == pytest.approx(4 + 6 * 0.6)
    assert average.low < average.ours < average.high
    scores = of("scores_0_10", runs[0])
    assert cell(scores, "self-generation", "es", "rating").ours == 4.0
    assert cell(scores, "self-translation", "es", "rating").ours == 10.0
    assert pd.isna(cell(scores, "self-generation", "de", "rating").ours), "only en and es were judged"


def test_two_seeds_are_one_row_with_an_interval(runs: list[Path]) -> None:
    found = cell(of("x_alpacaeval", *runs), "M_1", "es", "win_rate")
    assert (found.ours, found.n) == (pytest.approx(0.3), 20)
    assert found.low < 0.3 < found.high
    assert "mean over 2 seeds" in found.note
    kappa = cell(of("e2_judges", *runs), "all judges", "es", "kappa")
    assert "without an interval" in kappa.note


def test_seeds_with_problems_of_their_own_are_taken_together(runs: list[Path]) -> None:
    """As pairs have them; by hand: 3 of 4 and 1 of 2 are 4 of 6."""
    first = {"es": {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.0}}
    second = {"es": {"a": 1.0, "e": 0.0}}
    wanted = Wanted(Source("pairs", "reward_accuracy", "oracle"), ("es",), 1)
    found = pooled([first, second], {"es": 1.0}, wanted)
    assert found is not None
    assert (found.value, found.n) == (pytest.approx(4 / 6), 6)
    assert found.low is not None
    assert "each with problems of its own" in found.note


def test_several_judges_stand_in_rows_of_their_own(runs: list[Path]) -> None:
    frame = of("e2_judges", runs[0])
    exact = "openai (lab: oracle)"
    assert cell(frame, exact, "es", "swap_consistency").ours == 1.0
    assert cell(frame, exact, "es", "reward_accuracy").ours == 1.0
    assert cell(frame, "local (lab: position_biased)", "es", "swap_consistency").ours < 1
    assert set(frame[frame["metric"] == "alpha"]["row"]) == {"all judges"}
    assert -1 <= cell(frame, "all judges", "es", "alpha").ours < 1
    validity = of("e1_validity", runs[0])
    assert "judge position_biased" in cell(validity, "pairs of M_0", "es", "tie").note


def test_a_win_rate_is_split_by_the_language_of_both_answers(runs: list[Path]) -> None:
    frame = of("e7_capability", runs[0])
    assert cell(frame, "M_1", "es", "both_on_target").ours == 1.0
    assert cell(frame, "M_1", "es", "win_rate_on_target").ours == pytest.approx(0.65)
    assert cell(frame, "M_1", "es", "win_rate").ours == pytest.approx(0.65)


def test_features_and_overlaps_are_made_from_what_is_stored(runs: list[Path]) -> None:
    features = of("e8_translationese", runs[0])
    for metric in ("sentence_length", "compressed"):
        both = [cell(features, f"pairs of M_0: {side}", "es", metric).ours for side in ("chosen", "rejected")]
        assert both[0] == pytest.approx(both[1], rel=0.05), "the rejected differ in a number alone"
    overlaps = of("e11_contamination", runs[0])
    assert cell(overlaps, "X-AlpacaEval in Alpagasus", "en", "overlap_exact").ours == 0.0


def test_what_one_protocol_said_another_leaves(runs: list[Path]) -> None:
    stored = read_results(runs[0] / "results.json").scores
    judges = {(s.subject, s.judge) for s in stored if s.judge}
    assert judges >= {
        ("lab", "oracle"), ("lab vs initial", "oracle_scores"), ("lab vs previous", "oracle_scores"),
        ("responses", "oracle"), ("pairs", "noisy"), ("pairs", "agreement"),
    }  # fmt: skip
    ratings = {s.language for s in stored if (s.subject, s.metric, s.iteration) == ("lab", "rating", 1)}
    assert ratings == {"en", "es", "de", "fr", "ru", "zh"}


def test_a_row_that_is_not_judged_has_both_commands(runs: list[Path]) -> None:
    missing = cell(of("x_alpacaeval", runs[0]), "SFT", "es", "win_rate").command
    assert missing == (
        "lidr run experiment=sft_baseline scale=lab && lidr judge outputs/sft_baseline judge=[oracle] "
        "opponents=[builtin:lab]"
    )


def test_scales_of_judges_need_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = read_table("e3_calibration")
    assert tidy(calibrations(spec, tmp_path / "outputs"))["ours"].isna().all()
    assert main(["calibrate", "judge=[oracle]", "limit=2", "--languages", "en,es"]) == 0
    frame = tidy(calibrations(spec, tmp_path / "outputs"))
    exact = "openai (lab: oracle)"
    assert cell(frame, exact, "es", "intact").ours == 10.0
    assert cell(frame, exact, "es", "offset").ours == 0.0
    assert cell(frame, "local (lab: length_biased)", "es", "slope").command.startswith(
        "lidr calibrate judge="
    )
    assert main(["table", "e3_calibration"]) == 0
    assert "judges  oracle" in capsys.readouterr().out
