"""What models and servers write does nothing where it is read: Markdown, LaTeX, CSV, terminals, logs."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.table import Table

from lidr.commands.status import status
from lidr.console import console
from lidr.errors import LidrError
from lidr.logs import logging_to, show
from lidr.printable import inert
from lidr.report import build_report
from lidr.report.grids import Grid
from lidr.report.writers import escape_latex, escape_markdown, frame_to_csv, harmless, latex, markdown, to_csv
from tests.report.runs import make_run
from tests.torture.strategies import REPEATABLE

NASTY = (
    "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1+1", "<script>alert(1)</script>",
    "![x](http://evil.example/x.png)", "[x](javascript:alert(1))", "[x]: http://evil", "**b** `c` ~~d~~ $e$ | f",
    "\\input{/etc/passwd}", "\\write18{touch x}", "^^5cinput", "$\\evil$", "% comment", "\\end{tabular}", "# x", "> x",
    "\x1b[2J\x1b]0;title\x07", "\u202egnp.exe", "\x00", "a\r\nb", "&lt;b&gt;", "<!-- x -->", "]]>", "---", "1. x",
)  # fmt: skip
MARKS = "=+-@\t\r\n|<>[]()!*_`~$\\{}%#&^\"'\x1b\x00\u202e\u2028 a1"
TEXT = st.sampled_from(NASTY) | st.text(st.sampled_from(MARKS), max_size=30) | st.text(max_size=30)
ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def grid(*cells: str) -> Grid:
    return Grid("name", "Title", ("a", "b"), tuple((cell, "x") for cell in cells))


def kinds(text: str) -> tuple[set[str], str]:
    """Kinds of tokens in a Markdown text, and its plain content."""
    found: set[str] = set()
    content: list[str] = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        found.add(re.sub("_(open|close)$", "", token.type))
        for child in token.children or []:
            found.add(child.type)
            content.append(
                child.content if child.type.startswith("text") else " " if child.type == "softbreak" else ""
            )
    return found, "".join(content)


@REPEATABLE
@given(text=TEXT)
def test_markdown_shows_a_text_as_it_is(text: str) -> None:
    found, content = kinds(f"x {escape_markdown(text)} x")
    assert found <= {"inline", "paragraph", "text", "text_special"}, found
    assert content.split() == ["x", *"".join(c if c.isprintable() else " " for c in text).split(), "x"]


@REPEATABLE
@given(cells=st.lists(TEXT, min_size=1, max_size=4))
@example(cells=list(NASTY))
def test_a_markdown_table_keeps_its_cells(cells: list[str]) -> None:
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown(grid(*cells)))
    assert sum(token.type == "td_open" for token in tokens) == 2 * len(cells)
    inner = {child.type for token in tokens for child in token.children or []}
    assert inner <= {"text", "text_special"}, inner


@REPEATABLE
@given(text=TEXT)
def test_latex_sets_a_text_as_it_is(text: str) -> None:
    """Every special character is escaped, so that no command but those of the escapes is left."""
    escaped = escape_latex(text)
    commands = set(re.findall(r"\\([A-Za-z]+)", escaped))
    assert commands <= {
        "textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar", "textquotedbl",
    }  # fmt: skip
    bare = re.sub(r"\\(?:text[a-z]+\{\}|[&%$#_{}])", "", escaped)
    assert not set(bare) & set('\\&%$#_{}^~<>|"')
    assert not ACTIVE.search(escaped)
    assert "\n" not in escaped


@REPEATABLE
@given(cells=st.lists(TEXT, min_size=1, max_size=4))
@example(cells=list(NASTY))
def test_a_latex_table_keeps_its_rows(cells: list[str]) -> None:
    lines = latex(grid(*cells)).splitlines()
    assert len(lines) == 8 + len(cells)
    assert all(line.endswith(" \\\\") and line.startswith("{}") for line in lines[6 : 6 + len(cells)])


@REPEATABLE
@given(cells=st.lists(TEXT, min_size=1, max_size=4))
@example(cells=list(NASTY))
def test_no_cell_of_a_csv_is_a_formula(cells: list[str]) -> None:
    for text in (to_csv(grid(*cells)), frame_to_csv(pd.DataFrame({"a": cells, "b": [1.5] * len(cells)}))):
        rows = list(csv.reader(io.StringIO(text, newline="")))
        assert len(rows) == len(cells) + 1
        for row, cell in zip(rows[1:], cells, strict=True):
            assert row[0] == harmless(cell)
            assert not row[0].startswith(
                ("=", "+", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
            ) or _number(row[0])
            assert not row[0].startswith("-") or row[0] == "-" or _number(row[0])


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_the_text_of_a_model_breaks_no_file_of_a_report(tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run, ["iterations=1"], limit=6)
    path = run / "iteration-1" / "pairs" / "pairs.jsonl"
    pairs = [json.loads(line) for line in path.read_text().splitlines()]
    for number, pair in enumerate(pairs):
        evil = NASTY[number % len(NASTY)]
        pair |= {
            "prompt": evil,
            "chosen": " ".join(NASTY),
            "rejected": evil,
            "chosen_origin": evil,
            "id": evil,
        }
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    paths = build_report([run], run / "report")
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(paths.markdown.read_text())
    inner = [child for token in tokens for child in token.children or []]
    assert not {t.type for t in [*tokens, *inner]} & {
        "html_inline",
        "html_block",
        "link_open",
        "fence",
        "s_open",
    }
    assert all(str(t.attrs["src"]).startswith("figures/") for t in inner if t.type == "image")
    cells = [tokens[i + 1] for i, token in enumerate(tokens) if token.type == "td_open"]
    assert len(cells) > 100
    assert {child.type for cell in cells for child in cell.children or []} <= {"text", "text_special"}
    for table in paths.tables:
        text = table.read_text(encoding="utf-8")
        assert not ACTIVE.search(text), table
        if table.suffix == ".csv":
            for row in csv.reader(io.StringIO(text, newline="")):
                assert all(harmless(cell) == cell for cell in row)


@REPEATABLE
@given(text=TEXT)
def test_an_error_is_inert(text: str) -> None:
    error = LidrError(text, where=text, instead=text)
    assert not ACTIVE.search(str(error))
    assert not ACTIVE.search(str(LidrError("outer", instead=str(error))))


def test_what_is_printed_logged_or_tabulated_is_inert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\x1b]0;t\x07\u202e\x9b31m[red][/nothing] [es,de]"
    show()
    with logging_to(tmp_path / "log.txt"):
        logging.getLogger("lidr.x").warning("a model wrote %s", evil)
        try:
            raise ValueError(evil)
        except ValueError:
            logging.getLogger("lidr.x").exception("failed: %s", evil)
    table = Table(evil, title=evil, caption=evil)
    table.add_row(evil)
    terminal = console()
    terminal.print(table, evil)
    terminal.print(evil, highlight=False, soft_wrap=True)
    printed = capsys.readouterr()
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    for text in (printed.out, printed.err, log):
        assert not ACTIVE.search(text)
        assert "[es,de]" in text.replace("\n", "")
    assert log.count("Traceback") == 1
    logging.getLogger("lidr").handlers.clear()


def test_the_status_of_a_run_is_inert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    make_run(run, ["iterations=1"], limit=6)
    evil = "\x1b[2J[/red]\u202e" + "=1"
    (run / "status.json").write_text(json.dumps({"status": "failed", "error": evil}))
    assert status(str(tmp_path)) == 1
    shown = capsys.readouterr().out
    assert not ACTIVE.search(shown)
    assert "[/red]" in shown


def test_inert_leaves_texts_of_all_languages_alone() -> None:
    for text in ("Ça va?", "Привет", "你好", "สวัสดี", "नमस्\u200dते", "می\u200cخواهم", "👩\u200d🔬", "a\tb\nc"):
        assert inert(text) == text
