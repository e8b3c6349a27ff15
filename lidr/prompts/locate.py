"""Where the prompt files of a language lie."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lidr.config import PromptsConfig
from lidr.errors import LidrError

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def locate(config: PromptsConfig, language: str) -> list[Path]:
    """The files of a language, in the order of `config.files`.

    Raises:
        LidrError: the root or a file is missing; names the languages that are there.
    """
    root = _root(config)
    return [_file(root, pattern, language) for pattern in config.files]


def _root(config: PromptsConfig) -> Path:
    instead = f"type prompts.root=<the folder that holds {config.files[0] if config.files else 'the files'}>"
    if config.root is None:
        raise LidrError("has no value", where="prompts.root", instead=instead)
    if not config.files:
        raise LidrError("is empty", where="prompts.files", instead="type prompts.files=['{language}.jsonl']")
    root = Path(os.path.expanduser(config.root))  # noqa: PTH111  (Path raises for ~nobody)
    if not root.is_dir():
        raise LidrError(f"there is no folder {str(root)!r}", where="prompts.root", instead=instead)
    return root


def _file(root: Path, pattern: str, language: str) -> Path:
    unknown = sorted(set(_PLACEHOLDER.findall(pattern)) - {"language"})
    if unknown:
        raise LidrError(
            f"{pattern!r} holds {{{unknown[0]}}}",
            where="prompts.files",
            instead="the one placeholder is {language}",
        )
    path = root / pattern.replace("{language}", language)
    if path.is_file():
        return path
    if path.is_dir() or path.is_symlink():
        what = "is a folder, not a file" if path.is_dir() else "is a link to a file that is not there"
        raise LidrError(what, where=str(path), instead="mend it, or type prompts.files=[<pattern>]")
    there = present(root, pattern)
    found = f"languages there: {', '.join(there)}" if there else f"nothing under {root} fits {pattern!r}"
    raise LidrError(
        f"has no prompts in {language!r} ({found})",
        where=str(path),
        instead="mend languages.*, or type prompts.root=<folder> prompts.files=[<pattern>]",
    )


def present(root: Path, pattern: str) -> list[str]:
    """The languages that have a file of this pattern under a folder, sorted."""
    head, found, tail = pattern.partition("{language}")
    if not found:
        return []
    shape = re.compile(
        re.escape(head) + "([A-Za-z-]+)" + re.escape(tail).replace(re.escape("{language}"), r"\1")
    )
    folder = root / head.rpartition("/")[0]
    if not folder.is_dir() or not folder.is_relative_to(root):
        return []
    depth = tail.count("/")
    names = (p.relative_to(root).as_posix() for p in folder.glob("/".join(["*"] * (depth + 1))))
    return sorted({match[1] for name in names if (match := shape.fullmatch(name))})
