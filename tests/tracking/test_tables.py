"""Tables of texts: bounded, the same every time, with what one filters by, and inert."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from lidr.config import identity
from lidr.printable import inert
from lidr.tracking.keys import TableRows
from lidr.tracking.tables import ANSWERS, BENCHMARK, PAIRS, TEXT, TRANSLATIONS, benchmark_tables, loop_tables
from tests.report.hostile import STORED
from tests.report.loops import make_loop_run, text
from tests.report.runs import make_run

from .conftest import mirrored
from .wandb_file import stored_runs

HOSTILE = list(STORED.values())


def listed(table: TableRows) -> list[dict[str, Any]]:
    assert all(
        cell is None or isinstance(cell, type_)
        for row in table.rows
        for cell, type_ in zip(row, table.columns.values(), strict=True)
    )
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_rows_are_bounded_the_same_each_time_and_say_what_became_of_each(tmp_path: Path) -> None:
    make_loop_run(tmp_path / "run", iterations=2, overrides=["tracking.sample_pairs=30"])
    tables = loop_tables(tmp_path / "run", 2)
    assert tables == loop_tables(tmp_path / "run", 2)
    pairs, answers, translations = (listed(tables[key]) for key in (PAIRS, ANSWERS, TRANSLATIONS))
    assert Counter(r["iteration"] for r in pairs) == {1: 30, 2: 30}  # 3 candidates a prompt, of 20 prompts
    assert {r["language"] for r in pairs} == {"en", "es", "ar"}
    assert {"kept", "translation_error"} <= {r["outcome"] for r in pairs}
    assert {"on", "off:en"} <= {r["rejected_target"] for r in pairs}
    assert Counter(r["language"] for r in answers) == {"en": 20, "es": 20, "ar": 20}
    assert {r["model"] for r in answers} == {0, 1}
    assert {r["outcome"] for r in translations} >= {"translated", "no closing tag"}
    assert {(r["source_language"], r["target_language"]) for r in translations} == {
        ("en", "es"), ("es", "en"), ("en", "ar"), ("ar", "en"),
    }  # fmt: skip
    assert {r["id"] for r in pairs} == {r["id"] for r in answers} == {r["id"] for r in translations}


def test_texts_are_inert_and_cut(tmp_path: Path) -> None:
    def hostile(kind: str, number: int, source: str, target: str) -> str | None:
        if number == 0:
            return "long " * TEXT
        return HOSTILE[number] if number < len(HOSTILE) else text(kind, number, source, target)

    config = make_loop_run(
        tmp_path / "run",
        ("es",),
        prompts=40,
        texts=hostile,
        overrides=["tracking=offline", "tracking.sample_pairs=80"],
    )
    mirrored(tmp_path / "run", config)
    (stored,) = stored_runs(tmp_path / "run")
    for key in (PAIRS, ANSWERS, TRANSLATIONS):
        table = stored.table(key)
        cells = [cell for row in table["data"] for cell in row if isinstance(cell, str)]
        assert all(cell == inert(cell) for cell in cells)
        assert max(map(len, cells)) == TEXT
    answers = [row[6] for row in stored.table(ANSWERS)["data"]]
    assert inert(STORED["nul and controls"]) in answers
    assert STORED["image"] in answers, "a table shows text as text"
    assert stored.id == identity(config)


def test_answers_to_benchmarks_of_every_model(tmp_path: Path) -> None:
    languages = ["languages.non_dominant=[es]", "languages.unseen=[]", "iterations=1"]
    make_run(tmp_path / "run", [*languages, "tracking.sample_pairs=4"], limit=4)
    rows = listed(benchmark_tables(tmp_path / "run", 1)[BENCHMARK])
    assert Counter((r["model"], r["language"]) for r in rows) == {
        (t, code): 2 for t in (0, 1) for code in ("en", "es")
    }
    assert {r["outcome"] for r in rows} <= {"right", "wrong"}
    assert {r["benchmark"] for r in rows} == {"lab"}
    assert {r["answer_target"] for r in rows} <= {"on", "off", "unknown"}
