"""What the page holds: records, their sample, what is missing; how it behaves is in test_page_browser.py."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lidr import jsonl
from lidr.errors import LidrError
from lidr.evaluation import PAIRS
from lidr.report import build_report
from lidr.report.frame import tidy
from lidr.report.page import Limits, write_page
from lidr.report.page.embed import embedded_size
from lidr.report.runs import read_runs
from lidr.report.sections import sections
from lidr.report.sweep import find_sweep
from lidr.stages import StageKind

from .hostile import STORED
from .loops import audit_of, drop_stage, make_loop_run, tear
from .parsed import Parsed
from .runs import make_run

LOOP = [StageKind.PROMPTS, StageKind.RESPONSES, StageKind.TRANSLATIONS, StageKind.PAIRS, StageKind.TRAINING]


def page_of(folders: list[Path], out: Path, limits: Limits | None = None) -> Parsed:
    runs = read_runs(folders)
    frame = tidy(runs)
    write_page(out, runs, frame, list(sections(runs, frame, [], find_sweep(runs))), limits)
    return Parsed(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def loop_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loop") / "run"
    make_loop_run(folder, iterations=2)
    return folder


def test_a_page_is_whole_and_the_same_twice(loop_run: Path, tmp_path: Path) -> None:
    page = page_of([loop_run], tmp_path / "a.html")
    page_of([loop_run], tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert page.tags["script"] == 2
    assert page.tags["style"] == 1
    assert not [
        v for k, v in page.attributes if k in ("src", "href", "action") and v and not v.startswith("#")
    ]
    assert not [k for k, _ in page.attributes if k.startswith("on") or k == "style"]
    assert "This page holds all 400 records there are." in page.shown
    assert "not finished" not in page.shown


def test_every_record_is_there_and_the_pairs_are_judged_as_the_run_judged_them(
    loop_run: Path, tmp_path: Path
) -> None:
    rows = page_of([loop_run], tmp_path / "page.html").rows()
    assert Counter(row["kind"] for row in rows) == {"pair": 120, "answer": 120, "translation": 160}
    for t in (1, 2):
        audit: Any = audit_of(loop_run, t)
        pairs = [row for row in rows if row["kind"] == "pair" and row["iteration"] == t]
        counted = Counter(row["outcome"] for row in pairs)
        assert counted == {"kept": audit["kept"]} | {k: n for k, n in audit["dropped"].items() if n}
        assert len(counted) >= 4
        on_file = list(jsonl.read(loop_run / f"iteration-{t}" / "pairs" / "pairs.jsonl"))
        shown = [(r["id"], r["prompt"], r["left"], r["right"]) for r in pairs if r["outcome"] == "kept"]
        assert shown == [(r["id"], r["prompt"], r["chosen"], r["rejected"]) for r in on_file]


def test_a_round_trip_shows_where_each_text_has_been(tmp_path: Path) -> None:
    make_loop_run(tmp_path / "run", ("es",), overrides=["pairs=round_trip"])
    page = page_of([tmp_path / "run"], tmp_path / "page.html")
    rows, audit = page.rows(), audit_of(tmp_path / "run", 1)
    assert Counter(row["kind"] for row in rows) == {"pair": 40, "answer": 40, "translation": 80}
    assert "This page holds all 160 records there are." in page.shown
    counted = Counter(row["outcome"] for row in rows if row["kind"] == "pair")
    dropped: Any = audit["dropped"]
    assert counted == {"kept": audit["kept"]} | {k: n for k, n in dropped.items() if n}
    assert {(row["leftOrigin"], row["rightOrigin"]) for row in rows if row["kind"] == "pair"} == {
        ("en->es->en", "es->en"), ("en->es", "es->en->es"),
    }  # fmt: skip
    back = [row for row in rows if row["kind"] == "translation" and row["rightOrigin"].count("->") == 2]
    assert len(back) == 40
    assert {row["outcome"] for row in back} == {"translated back", "no closing tag"}
    english = next(row for row in back if row["rightOrigin"] == "en->es->en")
    assert (english["leftOrigin"], english["leftLanguage"], english["language"]) == ("en->es", "es", "es")
    assert english["prompt"].startswith("Write one sentence"), "the prompt that was answered"


def test_on_target_agrees_with_the_audit(loop_run: Path, tmp_path: Path) -> None:
    rows = page_of([loop_run], tmp_path / "page.html").rows()
    for cell in audit_of(loop_run, 1)["pairs"]:  # type: ignore[attr-defined]
        kept = [
            row
            for row in rows
            if (row["kind"], row["iteration"], row["language"]) == ("pair", 1, cell["language"])
            and row["outcome"] in ("kept", "off_target_chosen")
        ]
        off = sum(row["rightTarget"].startswith("off") for row in kept)
        assert off == cell["on_target"]["rejected"]["off"], cell["language"]
    answers = [row for row in rows if row["kind"] == "answer" and row["leftTarget"] == "off:en"]
    assert {row["language"] for row in answers} == {"es", "ar"}


def test_languages_carry_their_direction(loop_run: Path, tmp_path: Path) -> None:
    languages = page_of([loop_run], tmp_path / "page.html").data["languages"]
    assert languages["ar"] == {"name": "Arabic", "dir": "rtl"}
    assert languages["es"]["dir"] == "ltr"


def test_texts_are_embedded_once_and_long_ones_are_cut(tmp_path: Path) -> None:
    long = "palabra larga " * 900

    def texts(kind: str, number: int, source: str, target: str) -> str:
        return (
            f"{long}{number} {source} {target}" if number == 1 else f"{kind} {number} {source} {target} texto"
        )

    make_loop_run(tmp_path / "run", ("es",), prompts=4, texts=texts)
    page = page_of([tmp_path / "run"], tmp_path / "page.html", Limits(text=500))
    assert len(set(page.data["texts"])) <= len(page.data["texts"]) == 8 + 16
    assert max(map(len, page.data["texts"])) == 500
    assert sorted(page.data["cut"].values()) == [12607, 12607, 12607, 12607]
    assert "4 texts are longer than 500 characters and cut there." in page.shown


def test_a_page_holds_no_more_than_its_limits_and_says_so(loop_run: Path, tmp_path: Path) -> None:
    for limits in (Limits(records=70), Limits(size=9_000), Limits(records=1), Limits(size=10)):
        page = page_of([loop_run], tmp_path / "page.html", limits)
        rows = page.rows()
        assert len(rows) <= limits.records
        assert sum(map(embedded_size, page.data["texts"])) <= limits.size
        assert f"This page holds {len(rows)} of 400 records" in page.shown
        shown = {(row["iteration"], row["id"]) for row in rows}
        counts = Counter((row["iteration"], row["id"]) for row in rows)
        assert all(counts[key] == 10 for key in shown)
    assert {
        row["iteration"] for row in page_of([loop_run], tmp_path / "p.html", Limits(records=70)).rows()
    } == {1, 2}


def test_runs_on_the_same_prompts_show_the_same_prompts(tmp_path: Path) -> None:
    for seed in (0, 1):
        make_loop_run(tmp_path / str(seed), overrides=[f"seed={seed}"])
    page = page_of([tmp_path / "0", tmp_path / "1"], tmp_path / "page.html", Limits(records=100))
    ids = [{row["id"] for row in page.rows() if row["run"] == run} for run in (0, 1)]
    assert ids[0] == ids[1]
    assert 0 < len(ids[0]) < 20
    assert page.data["runs"] == ["seed=0", "seed=1"]


def test_hostile_texts_in_every_field_reach_the_page_as_they_are(tmp_path: Path) -> None:
    listed = list(STORED.values())

    def texts(kind: str, number: int, source: str, target: str) -> str:
        return f"{listed[number]} {kind} {source} {target}"

    folder = tmp_path / "run"
    make_loop_run(folder, ("es",), prompts=len(listed), texts=texts)
    pairs = folder / "iteration-1" / "pairs" / "pairs.jsonl"
    fields = ("id", "language", "prompt", "chosen", "rejected", "chosen_origin", "rejected_origin")
    jsonl.write(pairs, [*jsonl.read(pairs), *(dict.fromkeys(fields, text) for text in listed)])
    page = page_of([folder], tmp_path / "page.html")
    assert page.tags["script"] == 2
    assert page.tags["img"] + page.tags["iframe"] + page.tags["base"] + page.tags["form"] == 1
    rows = page.rows()
    for text in listed:
        assert any(row["id"] == text and row["left"] == text and row["leftOrigin"] == text for row in rows)
        assert any(row["kind"] == "answer" and row["left"] == f"{text} answer es es" for row in rows)


@pytest.mark.parametrize("stage", LOOP)
def test_a_run_that_lacks_a_stage_has_a_page_that_names_it(stage: StageKind, tmp_path: Path) -> None:
    make_loop_run(tmp_path / "run", iterations=2)
    for later in LOOP[LOOP.index(stage) :]:
        drop_stage(tmp_path / "run", 2, later)
    page = page_of([tmp_path / "run"], tmp_path / "page.html")
    assert "The run is not finished." in page.shown
    assert f"Not begun: iteration-2/{stage}" in page.shown
    assert "iteration-1/" not in page.shown
    kinds = {row["kind"] for row in page.rows() if row["iteration"] == 2}
    expected = {"prompts": 0, "responses": 0, "translations": 1, "pairs": 2, "training": 3}
    assert len(kinds) == expected[stage]


def test_a_stage_that_was_killed_shows_what_it_wrote(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_loop_run(folder)
    for kind in (StageKind.PAIRS, StageKind.TRAINING):
        drop_stage(folder, 1, kind)
    translations = folder / "iteration-1" / "translations"
    (translations / "stage.json").unlink()
    tear(translations / "en-es.jsonl", 4)
    (translations / "ar-en.jsonl").unlink()
    shard = translations / "shards" / "0-of-2" / "ar-en.jsonl"
    shard.parent.mkdir(parents=True)
    records = list(jsonl.read(translations / "es-en.jsonl"))[:3]
    jsonl.write(shard, ({**record, "source_language": "ar"} for record in records))
    page = page_of([folder], tmp_path / "page.html")
    assert "Begun and not finished: iteration-1/translations. What is written so far is shown." in page.shown
    counted = Counter((row["kind"], row["leftLanguage"], row["rightLanguage"]) for row in page.rows())
    assert counted["translation", "en", "es"] == 4
    assert counted["translation", "es", "en"] == 20
    assert counted["translation", "ar", "en"] == 3


def test_training_that_was_killed_has_curves(tmp_path: Path) -> None:
    make_loop_run(tmp_path / "run")
    training = tmp_path / "run" / "iteration-1" / "training"
    (training / "stage.json").unlink()
    tear(training / "metrics.jsonl", 12)
    page = build_report([tmp_path / "run"], tmp_path / "out").page
    text = page.read_text(encoding="utf-8")
    assert "Begun and not finished: iteration-1/training. What is written so far is shown." in text
    assert "<title>Training loss</title>" in text


def test_where_no_pair_was_kept_the_page_shows_why(tmp_path: Path) -> None:
    with pytest.raises(LidrError, match="none of 8 pairs"):
        make_loop_run(tmp_path / "run", ("es",), prompts=4, texts=lambda *_: "the same sentence everywhere")
    page = page_of([tmp_path / "run"], tmp_path / "page.html")
    assert [row["outcome"] for row in page.rows() if row["kind"] == "pair"] == ["identical"] * 8
    assert "Not begun: iteration-1/training." in page.shown


def test_pairs_without_their_answers_are_shown_and_the_page_says_what_is_not(tmp_path: Path) -> None:
    make_loop_run(tmp_path / "run")
    drop_stage(tmp_path / "run", 1, StageKind.RESPONSES)
    page = page_of([tmp_path / "run"], tmp_path / "page.html")
    assert "so its dropped candidates cannot be shown" in page.shown
    assert "The others lack the answers or translations that they were made of." in page.shown
    assert {row["outcome"] for row in page.rows() if row["kind"] == "pair"} == {"kept"}
    assert re.search(r"\d+ of 60 pair candidates", page.shown)


def test_a_rivals_pairs_are_shown_with_what_dropped_them(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = make_loop_run(folder, ("es", "de"), overrides=["pairs=mapo", "pairs.rival.samples=2"])
    assert config.pairs.rival is not None
    page = page_of([folder], tmp_path / "page.html")
    rows = [row for row in page.rows() if row["kind"] == "pair"]
    audit = audit_of(folder, 1)
    counted = Counter(row["outcome"] for row in rows)
    assert counted.pop("kept") == audit["kept"]
    dropped = audit["dropped"]
    assert isinstance(dropped, dict)
    assert {k: v for k, v in dropped.items() if v} == counted
    assert len(rows) == audit["candidates"] == 40
    assert counted["unscored"]
    assert counted["truncated"]
    assert "mapo: best over worst of 3 answers" in page.shown
    assert "es#2" in {row["leftOrigin"] for row in rows}
    (folder / "iteration-1" / "scores" / "es-2.jsonl").unlink()
    page = page_of([folder], tmp_path / "page.html")
    assert "answers, translations or scores behind the pairs are not there" in page.shown


def test_pairs_beyond_the_limit_are_shown_as_such(tmp_path: Path) -> None:
    make_loop_run(tmp_path / "run", ("es",), overrides=["pairs.limit=3"])
    page = page_of([tmp_path / "run"], tmp_path / "page.html")
    counted = Counter(row["outcome"] for row in page.rows() if row["kind"] == "pair")
    dropped = audit_of(tmp_path / "run", 1)["dropped"]
    assert isinstance(dropped, dict)
    assert counted.pop("kept") == 6
    assert counted == {k: v for k, v in dropped.items() if v}
    assert counted["surplus"] > 10


def test_pairs_that_were_made_elsewhere_are_all_shown(tmp_path: Path) -> None:
    make_loop_run(tmp_path / "run", ("es",), prompts=6)
    pairs = tmp_path / "run" / "iteration-1" / "pairs" / "pairs.jsonl"
    made = [dict(next(iter(jsonl.read(pairs))), id="mine", chosen=f"c {n}", rejected="r") for n in range(3)]
    jsonl.write(pairs, made)
    rows = [
        row for row in page_of([tmp_path / "run"], tmp_path / "page.html").rows() if row["kind"] == "pair"
    ]
    assert [row["left"] for row in rows if row["id"] == "mine"] == ["c 0", "c 1", "c 2"]
    assert "not among the pairs" in {row["outcome"] for row in rows}


def test_a_request_for_a_translation_is_not_judged_by_its_language(tmp_path: Path) -> None:
    make_loop_run(tmp_path / "run", instruction=" Translate 'hello' into Spanish.", prompts=4)
    rows = page_of([tmp_path / "run"], tmp_path / "page.html").rows()
    kept = [
        row for row in rows if row["kind"] == "pair" and row["language"] == "ar" and row["outcome"] == "kept"
    ]
    assert {(row["leftOrigin"], row["leftTarget"], row["rightTarget"]) for row in kept} == {("en", "", "")}


def test_benchmark_answers_of_every_model_are_shown_with_what_they_came_to(
    one_run: Path, tmp_path: Path
) -> None:
    page = page_of([one_run], tmp_path / "page.html")
    rows = [row for row in page.rows() if row["kind"] == "benchmark"]
    assert len(rows) == 3 * 6 * 60
    assert {row["outcome"] for row in rows} == {"right", "wrong"}
    assert {row["leftTarget"] for row in rows} >= {"on", "off"}
    right = sum(row["outcome"] == "right" for row in rows if (row["model"], row["language"]) == (0, "es"))
    score = next(
        s
        for s in read_runs([one_run])[0].scores
        if (s.iteration, s.language, s.metric) == (0, "es", "accuracy")
    )
    assert right / 60 == pytest.approx(score.value)


def test_tables_and_charts_of_the_report_are_on_the_page(one_run: Path, tmp_path: Path) -> None:
    page = page_of([one_run], tmp_path / "page.html")
    for title in ("Accuracy (%)", "Reward accuracy (%)", "Pairs of iteration 1", "Training", "Settings"):
        assert title in page.shown
    assert PAIRS in page.shown
    assert page.tags["svg"] == 2 + 1 + 2  # accuracy, off target; the gap; loss, margin
    assert "es, M_2: " in page.shown
    assert "synthetic lab world" in page.shown


def test_several_runs_stand_on_one_page(three_runs: list[Path], tmp_path: Path) -> None:
    page = page_of(three_runs, tmp_path / "page.html")
    assert page.data["runs"] == ["beta=0.05", "beta=0.1", "beta=0.5"]
    assert {row["run"] for row in page.rows()} == {0, 1, 2}
    for title in ("runs side by side", "Accuracy, last model (%)", "Run beta=0.5", "Training loss: beta=0.1"):
        assert title in page.shown
    assert "beta=0.5 is not finished." in page.shown


def test_an_audits_numbers_lead_to_their_pairs(loop_run: Path, tmp_path: Path) -> None:
    page = page_of([loop_run], tmp_path / "page.html")
    links = {value for key, value in page.attributes if key == "href"}
    assert "#kind=pair&iteration=1&language=es&outcome=pair%3Aidentical" in links
    assert "#kind=pair&iteration=2&outcome=pair%3Akept" in links


def test_a_run_with_nothing_yet_has_a_page(tmp_path: Path) -> None:
    make_run(tmp_path / "run", ["iterations=1"], evaluated=-1)
    shutil.rmtree(tmp_path / "run" / "iteration-1")
    page = page_of([tmp_path / "run"], tmp_path / "page.html")
    assert "iteration-1/training" in page.shown
    assert "There are no answers yet." in page.shown
