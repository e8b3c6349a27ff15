"""The page in a real browser, opened from disk: nothing a model wrote runs, and the filters do what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from lidr.report import build_report
from lidr.report.runs import Run

from .browser import Chromium, Page, find_chromium
from .hostile import STORED
from .loops import make_loop_run
from .settings import page_of_settings

PROGRAM = find_chromium()
pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on the PATH: apt-get install chromium"),
    pytest.mark.xdist_group("chromium"),
]
COUNT = "document.getElementById('count').textContent"
PAPER = "getComputedStyle(document.body).backgroundColor"
OWN_ELEMENTS = {"BDI", "BUTTON", "DIV", "H3", "H4", "HEADER", "LI", "MARK", "P", "SPAN"}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    assert PROGRAM is not None
    with Chromium(PROGRAM, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("loop")
    make_loop_run(root / "run", iterations=2)
    return build_report([root / "run"], root / "out").page


@pytest.fixture
def page(chromium: Chromium, report: Path) -> Page:
    return chromium.page().open(report)


def count(page: Page) -> int:
    """Records that match."""
    text = str(page.evaluate(COUNT))
    return 0 if text.startswith("No record") else int(text.split()[0].replace(",", ""))


def code_units(text: str) -> str:
    raw = text.encode("utf-16-be", "surrogatepass")
    return " ".join(f"{int.from_bytes(raw[i : i + 2], 'big'):x}" for i in range(0, len(raw), 2))


def test_hostile_texts_are_shown_as_text_and_do_not_run(chromium: Chromium, tmp_path: Path) -> None:
    listed = list(STORED.values())

    def texts(kind: str, number: int, source: str, target: str) -> str:
        return f"{listed[number]} {kind} {source} {target}"

    make_loop_run(tmp_path / "run", ("es",), prompts=len(listed), texts=texts)
    fields = ("id", "language", "chosen_origin", "rejected_origin", "prompt", "chosen", "rejected")
    pairs = tmp_path / "run" / "iteration-1" / "pairs" / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(dict.fromkeys(fields, t)) + "\n" for t in listed), encoding="utf-8")
    path = build_report([tmp_path / "run"], tmp_path / "out").page
    page = chromium.page().open(path, "outcome=pair:kept")
    assert count(page) == len(listed)
    seen = []
    for number in range(1, -(-len(listed) // 20) + 1):
        page.open(path, f"outcome=pair:kept&page={number}")
        seen += page.probe("codeUnits", "#records .chosen .text")
        page.probe("provoke")
        assert page.evaluate("typeof window.pwned") == "undefined"
        assert set(page.probe("elementsUsed")) <= OWN_ELEMENTS
        assert page.complaints() == []
        assert all(address.startswith("file://") for address in page.requests())
    assert seen == [code_units(text) for text in listed]
    assert page.evaluate("document.scripts.length") == 2
    assert (
        page.evaluate("document.querySelectorAll('img, iframe, base, object, a[href*=script]').length") == 0
    )
    for text in ("__proto__", "constructor", "javascript:window.pwned=1"):
        page.open(path, f"id={quote(text)}")
        assert count(page) == 1
    assert page.evaluate("typeof window.pwned") == "undefined"


def test_a_drawn_answer_is_called_one(chromium: Chromium, tmp_path: Path) -> None:
    make_loop_run(tmp_path / "run", ("es",), overrides=["pairs=mapo", "pairs.rival.samples=2"])
    page = chromium.page().open(build_report([tmp_path / "run"], tmp_path / "out").page, "outcome=pair:kept")
    origins = "[...document.querySelectorAll('#records .origin')].map((p) => p.textContent).join('|')"
    shown = page.evaluate(origins)
    assert "answered in Spanish, draw 2" in shown
    assert re.search(r"answered in Spanish(?!,)", shown)
    assert "#" not in shown
    assert page.complaints() == []


def test_the_policy_stops_what_would_get_past_the_escaping(
    chromium: Chromium, report: Path, tmp_path: Path
) -> None:
    """The second wall by itself: markup put into the file by hand neither runs nor asks for anything."""
    attack = (
        "<script>window.pwned=1</script><img src=https://example.invalid/x onerror=window.pwned=1>"
        "<style>body{display:none}</style><iframe src=https://example.invalid/></iframe>"
    )
    path = tmp_path / "page.html"
    path.write_text(report.read_text(encoding="utf-8").replace("<main>", f"<main>{attack}"), encoding="utf-8")
    page = chromium.page().open(path)
    assert page.evaluate("typeof window.pwned") == "undefined"
    assert page.evaluate("getComputedStyle(document.body).display") == "block"
    assert sum("Content Security Policy" in text for text in page.complaints()) >= 4
    assert count(page) == 120
    assert page.probe("writeMarkup") == "TypeError"


def test_a_page_opens_from_disk_asks_for_nothing_and_complains_of_nothing(page: Page, report: Path) -> None:
    assert page.requests() == [report.resolve().as_uri()]
    assert page.complaints() == []
    assert count(page) == 120
    assert len(page.probe("cards")) == 20


def test_filters_narrow_what_is_shown(page: Page) -> None:
    page.probe("choose", "language", "ar")
    assert count(page) == 40
    page.probe("choose", "iteration", "2")
    assert count(page) == 20
    page.probe("choose", "outcome", "pair:kept")
    kept = count(page)
    page.probe("choose", "target", "right-off")
    assert 0 < count(page) < kept < 20
    assert all("off target: English" in text and "kept" in text for text in page.probe("cards"))
    page.probe("choose", "kind", "answer")
    assert page.evaluate("document.getElementById('filter-outcome').value") == "all"
    page.probe("choose", "target", "off")
    assert page.evaluate("location.hash") == "#kind=answer&iteration=2&language=ar&target=off"
    assert count(page) == 2
    page.evaluate("document.getElementById('reset').click()")
    assert count(page) == 120


def test_a_choice_says_how_many_records_it_would_show(chromium: Chromium, report: Path) -> None:
    page = chromium.page()
    for start in (
        "kind=pair&language=ar",
        "kind=translation&target=off",
        "id=prompt-1-00003",
        "q=prompt-2-00003",
    ):
        offered = page.open(report, start).probe("choices")
        assert sum(len(options) for options in offered.values()) > 20
        for name, options in offered.items():
            for value, said in options:
                if said:
                    page.probe("go", f"#{start}")
                    page.probe("choose", name, value)
                    assert count(page) == said, (start, name, value)


def test_a_drop_reason_shows_its_pairs(page: Page) -> None:
    page.probe("choose", "outcome", "pair:identical")
    assert 0 < count(page) < 120
    assert all("dropped: identical" in text for text in page.probe("cards"))
    assert page.probe("sidesAreSame")


def test_a_failed_translation_says_so(page: Page) -> None:
    page.probe("choose", "kind", "translation")
    page.probe("choose", "outcome", "translation:no closing tag")
    assert count(page) == 4
    assert all("failed: no closing tag" in text and "no text" in text for text in page.probe("cards"))


def test_search_finds_texts_in_any_case_and_marks_them(page: Page) -> None:
    page.probe("choose", "kind", "all")
    page.probe("search", "EL SOL BRILLA")
    assert 0 < count(page) < 400
    marks = page.evaluate("[...new Set([...document.querySelectorAll('mark')].map(m => m.textContent))]")
    assert marks == ["el sol brilla"]
    assert page.evaluate("location.hash") == "#q=EL+SOL+BRILLA"


@pytest.mark.parametrize("query", [".*", "[a-", "$&", "%", "</script>", "\\d+", "^"])
def test_search_is_for_the_letters_typed(chromium: Chromium, report: Path, query: str) -> None:
    page = chromium.page().open(report, f"q={quote(query)}")
    assert count(page) == 0
    assert page.complaints() == []


def test_a_link_shows_the_same_records_and_nonsense_in_it_is_passed_over(
    chromium: Chromium, report: Path
) -> None:
    page = chromium.page().open(report, "kind=pair&language=ar&outcome=pair%3Aidentical")
    assert 0 < count(page) < 20
    page.open(report, "kind=pair&language=%3Cb%3E&outcome=__proto__&page=-3&run=99&x=1")
    assert count(page) == 120
    page.open(report, "browse")
    assert count(page) == 120
    page.open(report, "kind=pair&page=9999")
    assert "page 6 of 6" in page.evaluate(COUNT)


def test_an_audits_number_counts_the_pairs_behind_its_link(page: Page) -> None:
    links = page.probe("auditLinks")
    assert len(links) > 15
    for address, number in links:
        page.probe("go", address)
        assert count(page) == int(number), address


def test_the_same_prompt_shows_all_that_was_made_of_it(page: Page) -> None:
    page.probe("pressButton", ".card", "same prompt")
    assert count(page) == 10
    assert not page.evaluate("document.getElementById('one-prompt').hidden")
    page.evaluate("document.getElementById('one-prompt').click()")
    assert count(page) == 400


def test_pages_turn(page: Page) -> None:
    first = page.probe("cards")
    page.probe("pressButton", "#pager-below", "next")
    assert "page 2 of 6" in page.evaluate(COUNT)
    assert not set(first) & set(page.probe("cards"))
    page.probe("pressButton", "#pager-above", "last")
    assert "page 6 of 6" in page.evaluate(COUNT)


def test_right_to_left_texts_stand_on_the_right(chromium: Chromium, report: Path) -> None:
    page = chromium.page().open(report, "language=ar&outcome=pair:kept&iteration=1")
    chosen = page.probe("directions", ".chosen .text")
    right = {"dir": "rtl", "lang": "ar", "computed": "rtl", "keepsRight": True}
    assert chosen == [right] * len(chosen)
    page.open(report, "language=ar&outcome=pair:kept&target=right-off")
    english = page.probe("directions", ".rejected .text")
    assert english == [{"dir": "ltr", "lang": "en", "computed": "ltr", "keepsRight": False}] * len(english)
    assert chosen
    assert english


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_light_and_dark_follow_the_system_and_the_button(
    chromium: Chromium, report: Path, dark: bool
) -> None:
    page = chromium.page(dark=dark).open(report)
    page.evaluate("localStorage.clear()")
    page.open(report)
    system = page.evaluate(PAPER)
    assert system == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
    seen = []
    for _ in range(3):
        page.evaluate("document.getElementById('theme').click()")
        seen.append((page.evaluate("document.getElementById('theme').textContent"), page.evaluate(PAPER)))
    assert seen == [
        ("theme: light", "rgb(255, 255, 255)"),
        ("theme: dark", "rgb(21, 24, 28)"),
        ("theme: auto", system),
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_contrast(chromium: Chromium, report: Path, dark: bool) -> None:
    """WCAG 2.2, level AA."""
    assert chromium.page(dark=dark).open(report).probe("lowContrast", 4.5) == []


def test_a_phone_shows_the_page_without_scrolling_sideways(chromium: Chromium, report: Path) -> None:
    page = chromium.page(390, 844, mobile=True).open(report)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert all(len({side["left"] for side in sides}) == 1 for sides in page.probe("sidePlaces"))
    assert page.probe("smallControls", 28) == 0


def test_wide_windows_put_chosen_and_rejected_side_by_side(page: Page) -> None:
    places = page.probe("sidePlaces")
    assert all(len(sides) == 2 and len({side["top"] for side in sides}) == 1 for sides in places)


def test_readers_that_do_not_see_find_names(page: Page) -> None:
    assert page.probe("unnamed") == []
    assert page.probe("repeatedIds") == []
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("document.getElementById('count').getAttribute('role')") == "status"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_sweep_is_readable_and_named(
    chromium: Chromium, grid: list[Run], tmp_path: Path, dark: bool
) -> None:
    page_of_settings(grid, tmp_path / "page.html")
    page = chromium.page(390, 844, mobile=True, dark=dark).open(tmp_path / "page.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.probe("lowContrast", 4.5) == []
    assert page.probe("unnamed") == []
    assert page.complaints() == []
    assert page.evaluate("getComputedStyle(document.querySelector('.cell')).fill") == (
        "rgb(95, 180, 238)" if dark else "rgb(0, 114, 178)"
    )


def test_keys_alone_reach_the_records_and_turn_pages(page: Page) -> None:
    page.press("Tab", 9)
    assert page.evaluate("document.activeElement.className") == "skip"
    page.probe("focusButton", "#pager-above", "next")
    page.press("Enter", 13, "\r")
    assert "page 2 of 6" in page.evaluate(COUNT)
    assert page.evaluate("document.activeElement.textContent") == "next"
    page.probe("pressButton", "#pager-above", "last")
    page.press("Enter", 13, "\r")
    assert "page 6 of 6" in page.evaluate(COUNT)
    assert page.evaluate("document.activeElement.textContent") == "next"
    page.probe("focusButton", "#records", "same prompt")
    page.press("Enter", 13, "\r")
    assert page.evaluate("document.activeElement.id") == "one-prompt"


def test_thirty_thousand_records_are_filtered_and_searched_without_a_wait(
    chromium: Chromium, tmp_path: Path
) -> None:
    def texts(kind: str, number: int, source: str, target: str) -> str:
        numbers = " ".join(str(number * k) for k in range(1, 80))
        return numbers + ("?" if number % 100 == 0 and kind == "answer" else "")

    make_loop_run(tmp_path / "run", prompts=3000, texts=texts)
    path = build_report([tmp_path / "run"], tmp_path / "out").page
    page = chromium.page().open(path)
    assert page.probe("timeToChoose", "kind", "all") < 1000
    assert count(page) == 30_000
    assert len(page.probe("cards")) == 20
    assert page.probe("search", "29 58 87") < 2000
    assert 0 < count(page) < 30_000
