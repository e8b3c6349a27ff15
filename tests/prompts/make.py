"""Small prompt sets on disk."""

import json
import os
from pathlib import Path

import pytest

from lidr.config import OnIncomplete, PromptFormat, PromptsConfig

_DEFAULT = Path(__file__).parents[3] / "shared" / "data"


def official() -> Path:
    """The official data layout, or a skip that says how to get it."""
    root = Path(os.environ.get("LIDR_DATA", _DEFAULT))
    for folder in (root / "official", root):
        if (folder / "alpagasus").is_dir():
            return folder
    pytest.skip(
        f"no official prompt files under {root}: set LIDR_DATA to a folder that holds alpagasus/, gsm8k/ ..."
    )


def config(root: Path | None, **changes: object) -> PromptsConfig:
    values: dict[str, object] = {
        "name": "test",
        "format": PromptFormat.JSONL,
        "root": None if root is None else str(root),
        "files": ("{language}.jsonl",),
        "id_key": "id",
        "prompt_key": "prompt",
        "answer_key": None,
        "strip_language_prefix": False,
        "instruction": None,
        "limit": 2,
        "shuffle": False,
        "on_incomplete": OnIncomplete.ERROR,
    }
    return PromptsConfig(**{**values, **changes})  # type: ignore[arg-type]


def write(folder: Path, **languages: list[dict[str, object]]) -> Path:
    for language, rows in languages.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{language}.jsonl").write_text(text, encoding="utf-8")
    return folder


def rows(*texts: str) -> list[dict[str, object]]:
    return [{"id": f"p{i}", "prompt": text} for i, text in enumerate(texts)]
