"""Text of models inside a page, whatever it is."""

from __future__ import annotations

import json
import re

import pytest

from lidr.report.grids import Grid
from lidr.report.page.document import asset
from lidr.report.page.embed import embedded_size, escape, policy, script_json
from lidr.report.page.markup import Html, inline, table, tag

from .hostile import HOSTILE
from .parsed import Parsed


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_embedded_text_comes_back_whole_and_ends_nothing(text: str) -> None:
    value = {"texts": [text], text: text}
    embedded = script_json(value)
    assert json.loads(embedded) == value
    assert not set(embedded) & set("<>&\u2028\u2029\ufeff\x00\r\n")
    assert json.loads(embedded.encode("utf-8").decode("utf-8")) == value
    assert embedded_size(text) >= len(text)
    page = Parsed(f'<script type="application/json">{embedded}</script><p>after</p>')
    assert page.tags == {"script": 1, "p": 1}
    assert json.loads(page.scripts[0]) == value


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_text_in_markup_stays_text(text: str) -> None:
    markup = tag("p", text, title=text)
    markup.encode("utf-8")
    page = Parsed(markup)
    assert page.tags == {"p": 1}
    assert [name for name, _ in page.attributes] == ["title"]
    plain = "".join(c for c in text if c.isprintable())
    assert "".join(c for c in page.shown if c.isprintable() and c != "\ufffd") == plain


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        script_json([float("nan")])


def test_markup_escapes_whatever_is_not_markup() -> None:
    assert tag("b", "<i>", Html("<i>"), class_='x"y', hidden=True, open=False) == (
        '<b class="x&quot;y" hidden>&lt;i&gt;<i></b>'
    )
    assert inline("a **b<** `c` d") == "a <strong>b&lt;</strong> <code>c</code> d"
    grid = Grid("g", "T<", ("a<", "n"), (("<x>", "1"), ("y", "-")), note="<n>")
    page = Parsed(table(grid, lambda row, column: "#q=%3C" if row == 0 else None))
    assert page.tags["a"] == 1
    assert page.shown == "T<a<n<x>1y-<n>"
    assert escape("a\x00b") == "a\ufffdb"


def test_the_policy_names_the_script_and_the_style_and_nothing_else() -> None:
    found = dict(part.split(" ", 1) for part in policy("s", "c").split("; "))
    assert found["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", found["script-src"])
    assert found["script-src"] != found["style-src"]
    assert "unsafe" not in policy("s", "c")


def test_the_script_writes_text_alone_and_can_stand_in_a_page() -> None:
    script, style = asset("js"), asset("css")
    writers = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|setHTML"
    assert not re.search(writers, script)
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|WebSocket|https?:", script + style)
    assert "</" not in script.replace("<\\/", "")
    assert "<!--" not in script
    assert "url(" not in style
    assert "@import" not in style
