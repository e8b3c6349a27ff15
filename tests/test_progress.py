"""What a stage says of its progress where there is no terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from lidr import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds that have passed, to be set."""
    now = [0.0]
    monkeypatch.setattr("lidr.progress.time.monotonic", lambda: now[0])
    return now


def test_a_line_now_and_then_with_rate_and_time_left(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lidr.progress"), progress.bar("a/b", 100, 20) as advance:
        clock[0] = progress.LOG_EVERY_SECONDS / 2
        advance(5)
        clock[0] = 10.0 + progress.LOG_EVERY_SECONDS
        advance(15)
    rate = 20 / clock[0]
    assert caplog.messages == [f"a/b: 40 of 100, {rate:.1f}/s, about {60 / rate:.0f} s left"]


def test_where_nothing_was_done_there_is_no_rate(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lidr.progress"), progress.bar("a/b", 100, 20) as advance:
        clock[0] = 2 * progress.LOG_EVERY_SECONDS
        advance(0)
    assert caplog.messages == ["a/b: 20 of 100, nothing new yet"]
