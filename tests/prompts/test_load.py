import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lidr.config import OnIncomplete, PromptFormat
from lidr.errors import LidrError
from lidr.prompts import load
from tests.prompts.make import config, rows, write


def texts(aligned, language):
    return [p.prompt for p in aligned.by_language[language]]


def ids(aligned, language):
    return [p.id for p in aligned.by_language[language]]


def test_order_is_the_first_languages_order(tmp_path):
    write(tmp_path, en=rows("a", "b"), es=rows("x", "y")[::-1])
    aligned = load(config(tmp_path), ["en", "es"])
    assert texts(aligned, "en") == ["a", "b"]
    assert texts(aligned, "es") == ["x", "y"]
    assert len(aligned) == 2


def test_files_are_concatenated_in_order(tmp_path):
    (tmp_path / "two").mkdir()
    write(tmp_path, en=rows("a"), es=rows("x"))
    write(tmp_path / "two", en=[{"id": 7, "prompt": "b"}], es=[{"id": 7, "prompt": "y"}])
    aligned = load(config(tmp_path, files=("{language}.jsonl", "two/{language}.jsonl")), ["en", "es"])
    assert ids(aligned, "es") == ["p0", "7"]


def test_equal_texts_with_other_ids_stay_apart(tmp_path):
    write(tmp_path, en=rows("same", "same"), es=rows("igual", "otro"))
    assert texts(load(config(tmp_path), ["en", "es"]), "es") == ["igual", "otro"]


def test_position_is_the_id_where_there_is_none_and_blank_lines_keep_their_place(tmp_path):
    (tmp_path / "en.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "c"}\n')
    (tmp_path / "es.jsonl").write_text('{"prompt": "x"}\n\n{"prompt": "z"}\n')
    aligned = load(config(tmp_path, id_key=None, on_incomplete=OnIncomplete.DROP), ["en", "es"])
    assert ids(aligned, "es") == ["0", "2"]
    assert texts(aligned, "es") == ["x", "z"]


def test_positions_of_several_files_do_not_shift_each_other(tmp_path):
    for name, en, es in (("a", 3, 2), ("b", 1, 1)):
        (tmp_path / name).mkdir()
        for language, count in (("en", en), ("es", es)):
            lines = "".join(f'{{"prompt": "{name}{i}"}}\n' for i in range(count))
            (tmp_path / name / f"{language}.jsonl").write_text(lines)
    settings_ = config(
        tmp_path,
        id_key=None,
        files=("a/{language}.jsonl", "b/{language}.jsonl"),
        on_incomplete=OnIncomplete.DROP,
    )
    aligned = load(settings_, ["en", "es"])
    assert texts(aligned, "en") == texts(aligned, "es") == ["a0", "a1", "b0"]


def test_language_prefix_is_stripped_where_asked(tmp_path):
    write(tmp_path, en=[{"id": "g_0", "prompt": "a"}], de=[{"id": "deg_0", "prompt": "x"}])
    aligned = load(config(tmp_path, strip_language_prefix=True), ["en", "de"])
    assert ids(aligned, "de") == ["g_0"]
    with pytest.raises(LidrError, match="do not stand once"):
        load(config(tmp_path), ["en", "de"])


def test_instruction_is_part_of_the_prompt_and_braces_of_a_prompt_stay(tmp_path):
    write(tmp_path, en=rows("{language_name} {0}"), es=rows("{prompt}"))
    aligned = load(config(tmp_path, instruction="In {language_name}: {prompt}!"), ["en", "es"])
    assert texts(aligned, "en") == ["In English: {language_name} {0}!"]
    assert texts(aligned, "es") == ["In Spanish: {prompt}!"]


@pytest.mark.parametrize(("value", "expected"), [("18", "18"), (18, "18"), (1.5, "1.5"), (None, None)])
def test_answers(tmp_path, value, expected):
    write(
        tmp_path,
        en=[{"id": 1, "prompt": "a", "answer": value}],
        es=[{"id": 1, "prompt": "x", "answer": value}],
    )
    aligned = load(config(tmp_path, answer_key="answer"), ["en", "es"])
    assert aligned.by_language["es"][0].answer == expected


def test_json_array_with_byte_order_mark(tmp_path):
    for language in ("en", "es"):
        text = json.dumps([{"id": 1, "prompt": "a\nb"}, {"id": 2, "prompt": "]"}], indent=1)
        (tmp_path / f"{language}.json").write_text("\ufeff" + text + "\n", encoding="utf-8")
    aligned = load(config(tmp_path, format=PromptFormat.JSON_ARRAY, files=("{language}.json",)), ["en", "es"])
    assert texts(aligned, "en") == ["a\nb", "]"]


def test_incomplete_rows_are_listed_with_their_lines(tmp_path):
    write(tmp_path, en=rows("a", "b", "c", "d"), es=[*rows("x", " ", "z"), {"id": "p2", "prompt": "zz"}])
    with pytest.raises(LidrError) as caught:
        load(config(tmp_path), ["en", "es"])
    message = str(caught.value)
    assert "3 of 4 prompts do not stand once in every language" in message
    assert f"es: 1 missing (p3 is at {tmp_path}/en.jsonl:4)" in message
    assert f"1 empty (p1 at {tmp_path}/es.jsonl:2)" in message
    assert f"1 duplicated (p2 at {tmp_path}/es.jsonl:3 and {tmp_path}/es.jsonl:4)" in message
    assert "prompts.on_incomplete=drop" in message


def test_incomplete_rows_are_dropped_in_all_languages_and_counted(tmp_path):
    write(tmp_path, en=rows("a", "b", "c", "d"), es=[*rows("x", " ", "z"), {"id": "p2", "prompt": "zz"}])
    aligned = load(config(tmp_path, on_incomplete=OnIncomplete.DROP), ["en", "es"])
    assert ids(aligned, "en") == ids(aligned, "es") == ["p0"]
    assert (aligned.report.aligned, aligned.report.dropped) == (1, 3)
    english, spanish = aligned.report.languages
    assert english.complete
    assert (spanish.total, spanish.missing.count, spanish.empty.count, spanish.duplicated.count) == (
        4,
        1,
        1,
        1,
    )
    assert json.loads(json.dumps(aligned.report.to_json()))["languages"][1]["language"] == "es"


def test_nothing_in_common_is_an_error(tmp_path):
    write(tmp_path, en=rows("a"), es=[{"id": "q", "prompt": "x"}])
    with pytest.raises(LidrError, match="no prompt that all of en, es have"):
        load(config(tmp_path, on_incomplete=OnIncomplete.DROP), ["en", "es"])


_TABLE = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["", " ", "text", "other"])), max_size=8)


@settings(max_examples=60, deadline=None)
@given(english=_TABLE, spanish=_TABLE)
def test_alignment_neither_loses_nor_invents(english, spanish):
    tables = {"en": english, "es": spanish}
    complete = {
        i
        for i in range(6)
        if all([bool(t.strip()) for j, t in table if j == i] == [True] for table in tables.values())
    }
    with tempfile.TemporaryDirectory() as folder:
        made = {code: [{"id": i, "prompt": t} for i, t in table] for code, table in tables.items()}
        write(Path(folder), **made)
        settings_ = config(Path(folder), on_incomplete=OnIncomplete.DROP)
        if not complete:
            with pytest.raises(LidrError):
                load(settings_, ["en", "es"])
            return
        aligned = load(settings_, ["en", "es"])
    order = [str(i) for i in dict.fromkeys(i for i, _ in english) if i in complete]
    for code, table in tables.items():
        assert ids(aligned, code) == order
        assert texts(aligned, code) == [next(t for j, t in table if str(j) == i) for i in order]
    union = {i for table in tables.values() for i, _ in table}
    assert aligned.report.aligned + aligned.report.dropped == len(union)
    assert [r.total for r in aligned.report.languages] == [len(english), len(spanish)]


def test_lab_prompts():
    settings_ = config(None, format=PromptFormat.LAB, files=("test",), id_key=None)
    aligned = load(settings_, ["en", "es"])
    first = aligned.by_language["es"][0]
    assert first.answer is not None
    assert first.answer.isdigit()
    assert first.id == aligned.by_language["en"][0].id
    assert first.prompt != aligned.by_language["en"][0].prompt
    with pytest.raises(LidrError, match="does not speak 'th'"):
        load(settings_, ["en", "th"])
    with pytest.raises(LidrError, match="no split 'dev'"):
        load(config(None, format=PromptFormat.LAB, files=("dev",)), ["en", "es"])
