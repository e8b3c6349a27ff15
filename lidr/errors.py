"""The one error family a user sees: printed as a line, never as a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LidrError(Exception):
    """Something the user can mend: what is wrong, where, and what to type instead.

    Args:
        what: one sentence that names the fault with the value that caused it.
        where: ``file:line``, a config path or a run folder.
        instead: what to type or do instead.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, instead: str | None = None) -> None:
        self.what, self.where, self.instead = what, where, instead
        super().__init__(
            " ".join(filter(None, [f"{where}:" if where else "", what, f"-> {instead}" if instead else ""]))
        )


class ConfigError(LidrError):
    """One or several faults in the configuration; nothing was started."""

    exit_code = 2

    def __init__(self, problems: Iterable[LidrError]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class StageError(LidrError):
    """A stage failed; what it had finished stays, and the same command goes on."""


class FullDiskError(StageError):
    """There is no room for a file; no half-written line of it stays."""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice a mistyped word most likely meant, or None where nothing is near."""
    matches = difflib.get_close_matches(word, sorted(choices), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """What to type instead of `word`: the nearest choice, or all of them where none is near."""
    options = sorted(choices)
    best = nearest(word, options)
    if best is not None:
        return f"did you mean {best!r}?"
    return "choose from " + ", ".join(options) if options else "remove it"
