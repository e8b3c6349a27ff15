"""A `lidr` command in a copy of this process, and what it printed: as if typed, but at once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.torture.started import copied

SECONDS = 300.0


class Ended(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def typed(
    words: Sequence[str],
    cwd: Path,
    variables: Mapping[str, str] | None = None,
    before: Callable[[], object] = lambda: None,
    seconds: float = SECONDS,
) -> Ended:
    """Runs `lidr WORDS` in a copy of this process; `before` is called there first."""
    with tempfile.TemporaryDirectory() as output:
        out, err = Path(output) / "out", Path(output) / "err"
        code = copied(words, cwd, variables or {}, out, err, before).wait(seconds)
        texts = [path.read_bytes().decode("utf-8", "surrogateescape") for path in (out, err)]
    return Ended(code, *texts)
