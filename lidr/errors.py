"""The one error family a user sees: printed as a line, never as a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from lidr.printable import inert, short

_LISTED = 40  # choices
_COMPARED = 200  # characters


class LidrError(Exception):
    """Something the user can mend: what is wrong, where, and what to type instead.

    Its text is inert on a terminal, whatever the values in it are.

    Args:
        what: one sentence that names the fault with the value that caused it.
        where: ``file:line``, a config path or a run folder.
        instead: what to type or do instead.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, instead: str | None = None) -> None:
        self.what, self.where, self.instead = what, where, instead
        parts = [f"{where}:" if where else "", what, f"-> {instead}" if instead else ""]
        super().__init__(inert(" ".join(filter(None, parts))))


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
    matches = difflib.get_close_matches(word[:_COMPARED], sorted(choices), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """What to type instead of `word`: the nearest choice, or all of them where none is near."""
    options = sorted(choices)
    best = nearest(word, options)
    if best is not None:
        return f"did you mean {short(best)!r}?"
    more = f" and {len(options) - _LISTED} more" if len(options) > _LISTED else ""
    return "choose from " + ", ".join(map(short, options[:_LISTED])) + more if options else "remove it"
