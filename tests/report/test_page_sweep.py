"""What the page draws of a sweep, from numbers worked by hand; how it looks is in test_page_browser.py."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lidr.report.page.document import asset
from lidr.report.page.sweep_charts import sweep_charts
from lidr.report.runs import Run

from .hostile import HOSTILE
from .parsed import Parsed
from .settings import make, page_of_settings, swept


def drawn(runs: list[Run]) -> list[Parsed]:
    return [Parsed(figure) for figure in sweep_charts(swept(runs))]


def values(parsed: Parsed, name: str) -> list[str | None]:
    return [value for key, value in parsed.attributes if key == name]


def test_a_heat_map_has_a_cell_a_setting_whose_colour_and_text_say_its_change(grid: list[Run]) -> None:
    """Changes: beta 0.1: 12.5 and 100 points; beta 0.5: 0 and 50. From 0 to 100 the colour goes from 0.05 to 0.5."""
    heat, _, _ = drawn(grid)
    assert values(heat, "fill-opacity") == ["0.106", "0.500", "0.050", "0.275"]
    for text in ("+12.5", "+100.0", "0.0", "+50.0", "lr 0.0001, beta 0.5: +50.0 ["):
        assert text in heat.shown
    assert "beta, by lr" in heat.shown, "the table beside it"
    assert heat.tags["td"] == 4


def test_curves_have_a_panel_for_each_value_of_the_further_axis(grid: list[Run]) -> None:
    _, curves, _ = drawn(grid)
    assert curves.tags["svg"] == 2
    lines = [value for value in values(curves, "class") if value == "line"]
    assert len(lines) == 4
    for text in ("lr=3e-05", "lr=0.0001", "beta=0.1, lr=0.0001, M_1: 100.0 [", "A line is a value of beta."):
        assert text in curves.shown
    assert curves.tags["tr"] == 1 + 4


def test_effects_have_a_panel_an_axis_and_a_mark_for_each_value_and_language(grid: list[Run]) -> None:
    """Averaged over the other axis: es at beta 0.1 is (12.5 + 100) / 2."""
    _, _, effects = drawn(grid)
    assert effects.tags["svg"] == 2
    marks = [value for value in values(effects, "class") if value == "marker"]
    assert len(marks) == 2 * (2 + 2 * 4), "of the legend; and of en, es, ru and their mean"
    assert "beta 0.1, es: +56.2 [" in effects.shown or "beta 0.1, es: +56.3 [" in effects.shown
    assert effects.tags["table"] == 2


def test_one_axis_has_no_heat_map_and_long_names_stand_below_the_curves(tmp_path: Path) -> None:
    names = ("prompts_600_lr_5e-5", "prompts_150_lr_2e-4")
    runs = [make(tmp_path, f"setting={name}", after={"es": [1, 1, 0, 0]}) for name in names]
    curves, effects = drawn(runs)
    assert curves.tags["li"] == 2
    assert "150, 0.0002" in curves.shown
    assert effects.tags["svg"] == 1


def test_settings_that_are_not_there_are_empty_cells_and_many_columns_are_moved_sideways(
    tmp_path: Path,
) -> None:
    """As a search leaves them: every job has a beta and a rate of its own."""
    runs = [
        make(
            tmp_path, after={"es": [1, 0, 0, 0]}, objective__beta=0.1 * k, training__lr=1e-5 * k, seed=k // 9
        )
        for k in range(1, 9)
    ]
    runs.append(make(tmp_path, after={}, objective__beta=0.1, training__lr=8e-5))
    heat, curves, _ = drawn(runs)
    assert len([value for value in values(heat, "class") if value == "no-cell"]) == 8 * 8 - 9
    assert "chart sized" in values(heat, "class")
    assert "lr 2e-05, beta 0.1: no number" in heat.shown
    assert curves.tags["svg"] == 1, "a panel a rate would hold a single line"
    assert curves.tags["li"] == 9


def test_a_third_axis_has_panels_and_one_without_numbers_is_empty(grid: list[Run], tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    begun = make(
        tmp_path / "more", after={}, objective__beta=0.1, training__lr=3e-5, training__max_length=512
    )
    begun = replace(begun, scores=tuple(s for s in begun.scores if not s.iteration))
    heat = drawn([*grid, begun])[0]
    assert heat.tags["svg"] == 2
    assert "max_length=512" in heat.shown
    assert len([value for value in values(heat, "class") if value == "no-cell"]) == 4
    assert len(values(heat, "fill-opacity")) == 4


def test_a_sweep_is_on_the_page_and_other_runs_have_no_such_figures(grid: list[Run], tmp_path: Path) -> None:
    page = Parsed(page_of_settings(grid, tmp_path / "page.html"))
    assert "Sweep over beta, lr" in page.shown
    assert page.shown.count("numbers of this figure") == 3
    seeds = [run for run in grid if (run.config.objective.beta, run.config.training.lr) == (0.1, 1e-4)]
    assert "numbers of this figure" not in Parsed(page_of_settings(seeds, tmp_path / "page.html")).shown


def test_hostile_values_are_text(tmp_path: Path) -> None:
    hostile = [text for name, text in HOSTILE.items() if name in ("script end", "svg", "attribute", "style")]
    runs = [
        make(tmp_path, after={}, prompts__name=text, objective__beta=b) for text in hostile for b in (0.1, 1)
    ]
    page = Parsed(page_of_settings(runs, tmp_path / "page.html"))
    assert page.tags["script"] == 2
    assert page.tags["style"] == 1
    assert not [key for key, _ in page.attributes if key.startswith("on") or key == "style"]
    for figure in drawn(runs):
        assert set(figure.tags) <= {
            *(
                "figure",
                "figcaption",
                "div",
                "p",
                "svg",
                "title",
                "desc",
                "g",
                "rect",
                "text",
                "line",
                "polyline",
            ),
            *(
                "polygon",
                "circle",
                "details",
                "summary",
                "table",
                "caption",
                "thead",
                "tbody",
                "tr",
                "th",
                "td",
            ),
            *("ul", "li", "b"),
        }
        assert all(text in figure.shown for text in hostile)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_on_the_strongest_colour_has_contrast(theme: int) -> None:
    """WCAG 2.2, level AA: half of the colour over the paper, and the ink on it."""
    style = asset("css")
    assert ".cell { fill: var(--c0); }" in style
    paper, colour, ink = (_colour(style, name, theme) for name in ("paper", "c0", "ink"))
    behind = [(a + b) / 2 for a, b in zip(paper, colour, strict=True)]
    light, dark = sorted((_luminance(behind), _luminance(ink)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def _colour(style: str, name: str, theme: int) -> list[float]:
    found = re.search(rf"--{name}: light-dark\(#(\w+), #(\w+)\)", style)
    assert found is not None
    return [int(found[theme + 1][i : i + 2], 16) / 255 for i in (0, 2, 4)]


def _luminance(colour: list[float]) -> float:
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
