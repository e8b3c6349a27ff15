from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lidr.config import SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.errors import LidrError
from lidr.judging.cache import Cache, CachedEngine

GREEDY = SamplingConfig(8, 1.0)


class Counting:
    """Answers with the request's text, two at a time; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        ready: list[Completion] = []
        for request in requests:
            self.asked.append(request.key)
            reason = FinishReason.TOO_LONG if request.user == "long" else FinishReason.STOP
            ready.append(Completion(request.key, request.user.upper(), reason, 3, {"1": -0.25}))
            if len(ready) == 2:
                yield ready
                ready = []
        if ready:
            yield ready


def ask(
    path: Path, texts: list[str], judge: str = "j", sampling: SamplingConfig = GREEDY
) -> tuple[dict[str, Completion], list[str]]:
    inner, cache = Counting(), Cache(path)
    engine = CachedEngine(lambda: inner, cache, judge)
    requests = [Request(f"{judge}-{n}", text) for n, text in enumerate(texts)]
    found = {c.key: c for some in engine.stream(requests, sampling) for c in some}
    cache.close()
    return found, inner.asked


def test_a_repeated_question_costs_nothing(tmp_path: Path) -> None:
    first, asked = ask(tmp_path / "c.sqlite", ["a", "b", "c"])
    assert len(asked) == 3
    again, asked = ask(tmp_path / "c.sqlite", ["a", "b", "c"])
    assert asked == []
    assert again == first
    assert again["j-0"].log_probs == {"1": -0.25}


def test_only_what_is_new_is_asked(tmp_path: Path) -> None:
    ask(tmp_path / "c.sqlite", ["a", "c"])
    found, asked = ask(tmp_path / "c.sqlite", ["a", "b", "c", "d"])
    assert asked == ["j-1", "j-3"]
    assert {key: c.text for key, c in found.items()} == {"j-0": "A", "j-1": "B", "j-2": "C", "j-3": "D"}


def test_another_judge_or_sampling_is_asked(tmp_path: Path) -> None:
    ask(tmp_path / "c.sqlite", ["a"])
    assert ask(tmp_path / "c.sqlite", ["a"], judge="other")[1] == ["other-0"]
    assert ask(tmp_path / "c.sqlite", ["a"], sampling=SamplingConfig(9, 1.0))[1] == ["j-0"]


def test_a_question_that_was_too_long_is_asked_again(tmp_path: Path) -> None:
    assert ask(tmp_path / "c.sqlite", ["long"])[1] == ["j-0"]
    assert ask(tmp_path / "c.sqlite", ["long"])[1] == ["j-0"]


def test_what_is_done_is_neither_asked_nor_answered(tmp_path: Path) -> None:
    inner, cache = Counting(), Cache(tmp_path / "c.sqlite")
    requests = [Request("x", "a"), Request("y", "b")]
    found = [
        c.key
        for some in CachedEngine(lambda: inner, cache, "j").stream(requests, GREEDY, {"x"})
        for c in some
    ]
    assert found == inner.asked == ["y"]


@given(text=st.text(alphabet=st.characters(), max_size=20))
def test_any_text_comes_back_as_it_was(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cache") / "c.sqlite"
    cache = Cache(path)
    cache.put([("k", Completion("x", text + "\ud800", FinishReason.STOP, 1))])
    found = cache.get("k", Request("y", ""))
    cache.close()
    assert found == Completion("y", text + "\ud800", FinishReason.STOP, 1)


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"no database, but long enough to look like one " * 40)
    with pytest.raises(LidrError, match=r"c\.sqlite: cannot be used as a cache of replies .* cache=null"):
        Cache(path)
