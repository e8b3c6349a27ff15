"""Runs over a tiny prompt set and a byte tokenizer, whose numbers can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

from lidr.compose import compose_run
from lidr.config import RunConfig
from tests import tiny
from tests.prompts.make import rows, write

CONTEXT = 4096
# A template's frame around a prompt, in bytes and so in tokens: <s> is one, "<u>" three, <end> one, "<a>" three.
FRAME = 8


def model(folder: Path) -> Path:
    """The tiny model with a larger context."""
    path = tiny.save(folder)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "max_position_embeddings": CONTEXT}))
    return path


def prompts(folder: Path) -> Path:
    """en has 3 characters on average, es 5."""
    folder.mkdir()
    return write(folder, en=rows("abcd", "ef"), es=rows("abcdef", "ghij"))


def config(world: Path, outputs: Path, *overrides: str) -> RunConfig:
    """One iteration over two prompts in en and es, no evaluation.

    Args:
        world: holds `prompts` and `model`.
        outputs: where runs are written.
    """
    return compose_run(
        [
            "name=tiny",
            "model.name=tiny",
            f"model.path={world}/model",
            "languages.non_dominant=[es]",
            "languages.unseen=[]",
            "prompts=jsonl",
            f"prompts.root={world}/prompts",
            "prompts.limit=2",
            "evaluation=[]",
            "iterations=1",
            "translator.template='{source}|{target_language}'",
            "tracking=none",
            f"paths.outputs={outputs}",
            *overrides,
        ]
    )
