"""How a process ended, in words."""

from __future__ import annotations

import pytest

from lidr.children import how


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-9, "by signal SIGKILL; the system ends a process so that runs out of memory"),
        (137, "by signal SIGKILL; the system ends a process so that runs out of memory"),
        (-15, "by signal SIGTERM"),
        (143, "by signal SIGTERM"),
        (1, "with exit code 1"),
        (128, "with exit code 128"),
        (255, "with exit code 255"),
    ],
)
def test_a_signal_has_its_name_also_as_srun_says_it(code: int, said: str) -> None:
    assert how(code) == said
