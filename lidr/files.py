"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary sibling to write; on disk, it takes the place of `path` when the block ends well."""
    temporary = path.with_name(path.name + ".tmp")
    yield temporary
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    """Writes a text atomically, in UTF-8: a reader sees the old content or the new, never a part."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
