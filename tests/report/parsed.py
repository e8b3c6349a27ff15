"""A page as a parser that is not a browser reads it."""

from __future__ import annotations

import json
from collections import Counter
from html.parser import HTMLParser
from typing import Any


class Parsed(HTMLParser):
    """Tags, attributes, scripts and shown text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.shown = ""
        self._in: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag in ("script", "style"):
            self._in.append(tag)
            if tag == "script":
                self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._in and self._in[-1] == tag:
            self._in.pop()

    def handle_data(self, data: str) -> None:
        if not self._in:
            self.shown += data
        elif self._in[-1] == "script":
            self.scripts[-1] += data

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found

    def rows(self) -> list[dict[str, Any]]:
        """The embedded records, with their words and texts."""
        data = self.data
        texts, words = ("prompt", "left", "right"), ("run", "iteration", "model")
        found = []
        for row in data["rows"]:
            named = dict(zip(data["fields"], row, strict=True))
            for key, place in named.items():
                if key not in words:
                    source = data["texts"] if key in texts else data["words"]
                    named[key] = None if place < 0 else source[place]
            found.append(named)
        return found
