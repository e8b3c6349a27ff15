"""Compiled code is made once, on the machine that runs it, and never has to be there."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lidr.engines.native import build
from tests.engines.processors import COMPILED


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build.library.cache_clear()
    yield tmp_path / "lidr" / "native"
    build.library.cache_clear()


@COMPILED
def test_it_is_kept_and_loaded_the_next_time(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(build.library(), ctypes.CDLL)
    (made,) = cache.iterdir()
    before = made.stat().st_mtime_ns
    build.library.cache_clear()
    assert build.library() is not None
    assert made.stat().st_mtime_ns == before
    monkeypatch.setattr(build, "_processor", lambda: "another one")
    build.library.cache_clear()
    assert build.library() is not None
    assert len(list(cache.iterdir())) == 2


@COMPILED
def test_what_was_cut_off_is_made_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build.library()
    (made,) = cache.iterdir()
    cut_off = tmp_path / made.name  # a place from which nothing is loaded yet
    cut_off.write_bytes(made.read_bytes()[:100])
    monkeypatch.setattr(build, "_folder", lambda: tmp_path)
    build.library.cache_clear()
    with caplog.at_level(logging.INFO, logger="lidr"):
        assert build.library() is not None
    assert "is made again" in caplog.text
    assert cut_off.stat().st_size == made.stat().st_size


@COMPILED
def test_without_a_place_to_keep_it_it_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.INFO, logger="lidr"):
        assert build.library() is not None
    assert "not kept" in caplog.text


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        ("no-such-compiler", "there is no C++ compiler (no-such-compiler): install g++"),
        ("false", "exit status 1"),
    ],
)
def test_without_a_compiler_the_reason_is_logged(
    compiler: str, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", compiler)
    with caplog.at_level(logging.INFO, logger="lidr"):
        assert build.library() is None
    assert said in caplog.text
    assert "takes longer" in caplog.text


@COMPILED
def test_a_compilers_error_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "step.cpp"
    broken.write_text("int main( {")
    monkeypatch.setattr(build, "_SOURCE", broken)
    with caplog.at_level(logging.INFO, logger="lidr"):
        assert build.library() is None
    assert "step.cpp:1" in caplog.text


@COMPILED
def test_nothing_else_lies_in_the_folder(cache: Path) -> None:
    build.library()
    assert [path.suffix for path in cache.iterdir()] == [".so"]
    assert cache.stat().st_mode & 0o077 == 0
