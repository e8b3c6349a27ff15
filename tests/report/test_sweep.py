"""A sweep's tables and figures from numbers worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from lidr.report.runs import Run
from lidr.report.sweep import Results, Sweep, find_sweep
from lidr.report.sweep_figures import draw_sweep
from lidr.report.sweep_grids import sweep_grids

from .settings import PROBLEMS, make, swept


def test_axes_and_settings_are_found_and_put_in_order(grid: list[Run]) -> None:
    sweep = swept(grid)
    assert [(axis.name, axis.values) for axis in sweep.axes] == [
        ("beta", ("0.1", "0.5")),
        ("lr", ("3e-05", "0.0001")),
    ]
    assert [s.labels for s in sweep.settings] == [
        ("0.1", "3e-05"), ("0.1", "0.0001"), ("0.5", "3e-05"), ("0.5", "0.0001")
    ]  # fmt: skip
    assert [[run.config.seed for run in s.runs] for s in sweep.settings] == [[0, 1]] * 4


def only(sweep: Sweep) -> Results:
    (found,) = sweep.results
    return found


def test_the_numbers_of_a_setting_are_means_over_seeds_and_problems(grid: list[Run]) -> None:
    """beta 0.1, lr 3e-5: 0 of 4 with one seed, 1 of 4 with the other: 0.125."""
    found = only(swept(grid))
    low, high, _, other = found.sweep.settings
    change = found.change(low, found.headline)
    assert change is not None
    assert change.estimate.value == pytest.approx(0.125)
    assert (change.lowest, change.highest) == pytest.approx((0.0, 0.25))
    assert change.estimate.n == PROBLEMS
    against = found.against(high, low)
    assert against is not None
    assert against.estimate.value == pytest.approx(1 - 0.125)
    dominant = found.change(other, "en")
    assert dominant is not None
    assert dominant.estimate.value == 0


def test_an_effect_is_averaged_over_the_other_axis(grid: list[Run]) -> None:
    """beta 0.1: (0.125 + 1) / 2; beta 0.5: (0 + 0.5) / 2; lr 1e-4: (1 + 0.5) / 2."""
    found = only(swept(grid))
    cases = {(0, "0.1"): 0.5625, (0, "0.5"): 0.25, (1, "0.0001"): 0.75}
    for (axis, value), expected in cases.items():
        effect = found.effect(axis, value, "es")
        assert effect is not None
        assert effect.estimate.value == pytest.approx(expected)


def test_the_tables_say_so(grid: list[Run]) -> None:
    summary, by_language = sweep_grids(swept(grid))
    assert summary.header[:4] == ("beta", "lr", "seeds", "M_0")
    assert [row[:3] for row in summary.rows] == [
        ("0.1", "3e-05", "2"), ("0.1", "0.0001", "2"), ("0.5", "3e-05", "2"), ("0.5", "0.0001", "2")
    ]  # fmt: skip
    change = summary.header.index("change")
    assert [row[change].partition(" ")[0] for row in summary.rows] == ["+12.5", "+100.0", "0.0", "+50.0"]
    assert [row[change + 1].partition(" ")[0] for row in summary.rows] == ["-", "+87.5", "-12.5", "+37.5"]
    assert by_language.header == ("beta", "lr", "en", "es", "ru", "mean non-dominant")
    assert summary.source is not None
    assert set(summary.source["model"]) == {"M_0", "M_1", "M_1 - M_0"}


def test_other_seeds_are_not_compared(tmp_path: Path) -> None:
    right = {"es": [1, 1, 0, 0], "ru": [0, 0, 0, 0]}
    runs = [
        make(tmp_path, after=right, objective__beta=beta, seed=seed) for beta, seed in ((0.1, 0), (0.5, 1))
    ]
    found = only(swept(runs))
    one, two = found.sweep.settings
    assert found.change(two, "es") is not None
    assert found.against(two, one) is None


def test_values_that_go_together_are_one_axis(tmp_path: Path) -> None:
    runs = [
        make(tmp_path, f"setting={name}", after={})
        for name in ("prompts_600_lr_5e-5", "prompts_150_lr_2e-4", "prompts_300_lr_1e-4")
    ]
    (axis,) = swept(runs).axes
    assert axis.name == "limit, lr"
    assert axis.values == ("150, 0.0002", "300, 0.0001", "600, 5e-05")


def test_swept_languages_are_compared_by_those_that_all_evaluate(tmp_path: Path) -> None:
    sets = ([], ["languages.non_dominant=[es]", "languages.unseen=[ru]"])
    runs = [make(tmp_path, *more, after={"es": [1, 1, 1, 1], "ru": [1, 1, 0, 0]}) for more in sets]
    sweep = swept(runs)
    (axis,) = sweep.axes
    assert axis.values == ("es", "es+ru"), "the unseen ones follow"
    found = only(sweep)
    assert found.headline == "mean of es ru"
    change = found.change(sweep.settings[0], found.headline)
    assert change is not None
    assert change.estimate.value == pytest.approx(0.75)


def test_no_sweep_where_nothing_or_everything_differs(tmp_path: Path) -> None:
    same = [make(tmp_path, after={}, seed=seed) for seed in (0, 1)]
    assert find_sweep(same) is None
    assert find_sweep(same[:1]) is None
    other = make(tmp_path, after={}, name="other")
    assert find_sweep([*same, other]) is None
    values = {"objective__beta": 1.0, "training__lr": 1.0, "reference": "initial", "prompt_schedule": "reuse"}
    values |= {"prompts__limit": 9}
    some = [make(tmp_path, after={}, **{key: value}) for key, value in values.items()]
    assert find_sweep([*same, *some]) is None, "five values changed are runs of other kinds"


def test_a_run_that_is_not_finished_is_a_dash(tmp_path: Path) -> None:
    runs = [make(tmp_path, after={}, objective__beta=beta) for beta in (0.1, 0.5)]
    begun = Run(
        runs[1].root,
        "",
        runs[1].config,
        tuple(s for s in runs[1].scores if not s.iteration),
        {},
        {},
        {},
        {},
        {},
    )
    summary, _ = sweep_grids(swept([runs[0], begun]))
    change = summary.header.index("change")
    assert summary.rows[1][change:] == ("-", "-", "-")


def test_every_figure_is_drawn(grid: list[Run], tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    names = [
        f"sweep-lab-accuracy-{what}.{form}"
        for what in ("heat", "curves", "effects")
        for form in ("png", "pdf")
    ]
    assert [path.name for path in draw_sweep(swept(grid), folder)] == names
    assert all((folder / name).stat().st_size for name in names)
