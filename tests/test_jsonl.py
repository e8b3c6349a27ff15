"""JSON Lines: what is appended stays, what was torn is cut, what is broken is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr import jsonl
from lidr.errors import LidrError

TEXT = st.text(st.characters(codec=None, categories=None))
RECORDS = st.lists(st.dictionaries(TEXT, TEXT | st.integers() | st.none(), max_size=3), max_size=4)


@given(records=RECORDS)
def test_any_record_comes_back(
    records: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    assert jsonl.write(path, records) == len(records)
    assert list(jsonl.read(path)) == records


@given(cut=st.integers(min_value=0, max_value=200))
def test_a_file_cut_anywhere_keeps_its_whole_records(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl"
    records = [{"id": str(i), "text": "ä\n" * i} for i in range(6)]
    whole = b"".join(map(jsonl.encode, records))
    path.write_bytes(whole[:cut])
    with jsonl.Appender(path) as file:
        assert file.kept == records[: len(file.kept)]
        file.append(records[len(file.kept) :])
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b'{"a": 1}\n{"a": \n', 2, "not readable JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}\n", 1, "not readable JSON"),
        (b'{"a": 1}\n\xff\xfe\n', 2, "not UTF-8"),
        (b"[1]\n", 1, "not an object"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, content: bytes, line: int, what: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(LidrError, match=what) as error:
        list(jsonl.read(path))
    assert error.value.where == f"{path}:{line}"


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n{"a": 2}\n')
    assert list(jsonl.read(path)) == [{"a": 1}, {"a": 2}]


def test_unwanted_records_are_not_decoded_and_counted_all_the_same(tmp_path: Path) -> None:
    """Where the id does not stand first, or is escaped, a line is decoded in any case."""
    path = tmp_path / "a.jsonl"
    first = b'{"id": "a", "x": 1}\n{"id": "b", broken}\n{"x": 2, "id": "b"}\n\n'
    path.write_bytes(first + b'{"id": "\\u0062"}\n{"id": "\xc3\xa4"}\n{"id": "b')
    found = list(jsonl.lines_of(path, lambda identity: identity in ("a", "\u00e4")))
    assert [None if line is None else (line.number, line.record) for line in found] == [
        (1, {"id": "a", "x": 1}), None, (3, {"x": 2, "id": "b"}), (5, {"id": "b"}), (6, {"id": "\u00e4"}),
    ]  # fmt: skip
    with pytest.raises(LidrError, match=r"a\.jsonl:2: the line is not readable"):
        list(jsonl.lines_of(path, lambda _: True))
    assert jsonl.whole_lines(path) == 6
