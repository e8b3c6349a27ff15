"""The terminal, as everything here prints to it: texts are shown as they are, and none of them acts on it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from lidr.printable import inert


class _Inert(Console):
    """Every string that is printed, in cells of tables too, loses its escape sequences."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(inert(text), **options)


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console without markup: `[es,de]` in a text is no style."""
    return _Inert(stderr=stderr, width=width, markup=False, emoji=False)
