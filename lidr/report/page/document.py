"""The page: sections of tables and charts, the browser of records, its data, its style and its script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from urllib.parse import urlencode

import pandas as pd

from lidr.report.grids import Grid
from lidr.report.page import charts
from lidr.report.page.collect import Collected
from lidr.report.page.embed import policy, script_json
from lidr.report.page.gaps import gaps
from lidr.report.page.markup import Html, inline, table, tag
from lidr.report.page.sweep_charts import sweep_charts
from lidr.report.page.units import Kind
from lidr.report.runs import Run
from lidr.report.sections import READING, SYNTHETIC, Section, Topic, is_zero

_FILTERS = {"kind": "kind", "run": "run", "iteration": "iteration", "language": "language"}
_FILTERS |= {"outcome": "outcome, drop reason", "target": "language of the texts"}
_FIRST_REASON = 4  # the column of an audit's table in which the first reason to drop a pair stands


def document(
    runs: Sequence[Run], frame: pd.DataFrame, sections: Sequence[Section], collected: Collected
) -> str:
    """The whole page; it names no address and fetches nothing."""
    script, style = asset("js"), asset("css")
    title = ", ".join(dict.fromkeys(run.config.name for run in runs))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(script, style)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"Report: {title}"),
        Html(f"<style>{style}</style>"),
    )
    body = tag(
        "body",
        tag("a", "Skip to pairs, translations and answers", class_="skip", href="#browse"),
        _top(sections),
        tag("main", tag("h1", f"Report: {title}"), *_parts(runs, frame, sections, collected)),
        Html(f'<script type="application/json" id="data">{script_json(collected.payload)}</script>'),
        Html(f"<script>{script}</script>"),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def asset(suffix: str) -> str:
    """The page's script or style: its files in the order of their names, the script in a scope of its own."""
    folder = files("lidr.report.page") / "assets"
    found = sorted((f for f in folder.iterdir() if f.name.endswith(f".{suffix}")), key=lambda f: f.name)
    text = "\n".join(f.read_text(encoding="utf-8").replace("\r\n", "\n") for f in found)
    return text if suffix == "css" else f'"use strict";\n(() => {{\n{text}}})();\n'


def _top(sections: Sequence[Section]) -> Html:
    topics = {section.topic for section in sections}
    links = {"results": "Results"}
    links |= {"audit": "Pair audit"} if Topic.AUDIT in topics else {}
    links |= {"training": "Training", "browse": "Pairs and answers", "settings": "Settings"}
    anchors = [tag("a", name, href=f"#{place}") for place, name in links.items()]
    theme = tag("button", "theme: auto", type="button", id="theme", hidden=True)
    return tag(
        "header", tag("strong", "lidr"), tag("nav", *anchors, aria_label="Sections"), theme, class_="top"
    )


def _parts(
    runs: Sequence[Run], frame: pd.DataFrame, sections: Sequence[Section], collected: Collected
) -> Iterator[Html]:
    by_topic: dict[Topic, list[Section]] = {topic: [] for topic in Topic}
    for section in sections:
        by_topic[section.topic].append(section)
    if any(run.has_lab for run in runs):
        yield tag("div", tag("p", inline(SYNTHETIC)), class_="notice")
    yield from _missing(runs)
    yield tag("div", *_results(runs, frame, by_topic), id="results")
    yield tag("p", inline(READING), class_="note")
    for section in by_topic[Topic.REWARDS]:
        yield _section(section)
    for section in by_topic[Topic.AUDIT]:
        yield _audit(runs, section)
    curves = list(charts.training_charts(runs))
    for section in by_topic[Topic.TRAINING]:
        yield _section(section, curves)
    yield _browser(collected)
    for section in by_topic[Topic.SETTINGS]:
        yield _section(section)


def _results(
    runs: Sequence[Run], frame: pd.DataFrame, by_topic: Mapping[Topic, Sequence[Section]]
) -> Iterator[Html]:
    for section in (
        *by_topic[Topic.SWEEP],
        *by_topic[Topic.SEEDS],
        *by_topic[Topic.BENCHMARK],
        *by_topic[Topic.RUN],
    ):
        yield _section(section, list(_charts(runs, frame, section)), fold=section.topic is Topic.RUN)


def _charts(runs: Sequence[Run], frame: pd.DataFrame, section: Section) -> Iterator[Html]:
    if section.topic is Topic.BENCHMARK:
        yield from charts.benchmark_charts(runs, frame, section.subject)
    if section.sweep is not None:
        yield from sweep_charts(section.sweep)


def _missing(runs: Sequence[Run]) -> Iterator[Html]:
    for run in runs:
        found = gaps(run)
        if found.sentences:
            name = run.label if len(runs) > 1 else "The run"
            state = "is not complete" if found.is_finished else "is not finished"
            items = [tag("li", sentence) for sentence in found.sentences]
            heading = tag("p", tag("strong", f"{name} {state}."), " Numbers that are not there are dashes.")
            yield tag("div", heading, tag("ul", *items), class_="notice")


def _section(section: Section, figures: Sequence[Html] = (), fold: bool = False) -> Html:
    """A section: its charts, its first table, and the others folded."""
    open_, folded = (section.grids[:1], section.grids[1:]) if not fold else ((), section.grids)
    drawn = [tag("div", *figures, class_="figures")] if figures else []
    place = str(section.topic) if section.topic in (Topic.TRAINING, Topic.SETTINGS) else None
    parts: list[Html] = [tag("h2", section.title, id=place), *drawn, *map(_table, open_)]
    parts += [tag("details", tag("summary", grid.title), _table(grid)) for grid in folded]
    if not section.grids:
        parts.append(tag("p", "No numbers yet.", class_="note"))
    return tag("section", *parts)


def _table(grid: Grid) -> Html:
    return tag("p", f"{grid.title}: 0 in every cell.", class_="note") if is_zero(grid) else table(grid)


def _audit(runs: Sequence[Run], section: Section) -> Html:
    """The audit's tables, whose numbers lead to the pairs they count."""
    places = [(number, t) for number, run in enumerate(runs, start=1) for t in run.audits]
    parts = []
    for (number, iteration), grid in zip(places, section.grids, strict=True):
        run = str(number) if len(runs) > 1 else None
        parts.append(table(grid, lambda row, column, g=grid, t=iteration, r=run: _link(g, row, column, t, r)))  # type: ignore[misc]
    return tag("section", tag("h2", section.title, id="audit"), *parts)


def _link(grid: Grid, row: int, column: int, iteration: int, run: str | None) -> str | None:
    """Where the pairs of an audit's cell are looked at; None for one that counts none."""
    cell, language = grid.rows[row][column], grid.rows[row][1]
    if column < _FIRST_REASON - 2 or not cell.isdecimal() or cell == "0":
        return None
    name = grid.header[column]
    outcome = None if name == "candidates" else f"{Kind.PAIR}:{name.replace(' ', '_')}"
    wanted = {"kind": str(Kind.PAIR), "run": run, "iteration": str(iteration)}
    wanted |= {"language": language or None, "outcome": outcome}
    return "#" + urlencode({key: value for key, value in wanted.items() if value})


def _browser(collected: Collected) -> Html:
    selects = [tag("label", label, tag("select", id=f"filter-{name}")) for name, label in _FILTERS.items()]
    search = tag(
        "label",
        "search in prompts, answers, translations and ids",
        tag("input", type="search", id="filter-q", autocomplete="off", spellcheck="false"),
        class_="search",
    )
    form = tag(
        "form",
        *selects,
        search,
        tag("button", "clear filters", type="button", id="reset"),
        id="filters",
        hidden=True,
        role="search",
    )
    return tag(
        "section",
        tag("h2", "Pairs, translations and answers", id="browse"),
        tag("p", collected.coverage.sentence(), class_="coverage"),
        tag("noscript", tag("p", "Looking at the texts needs JavaScript.")),
        form,
        tag("button", "", type="button", id="one-prompt", hidden=True),
        tag("p", "", id="count", role="status"),
        tag("nav", "", id="pager-above", class_="pager", aria_label="Pages of records"),
        tag("ol", "", id="records"),
        tag("nav", "", id="pager-below", class_="pager", aria_label="Pages of records, below"),
    )
