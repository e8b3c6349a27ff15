"""Model folders that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lidr.files import writing


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary sibling to write into; it takes the place of `path` when the block ends well.

    Raises:
        FullDiskError: there is no room for it; `path` is as it was.
    """
    temporary, old = path.with_name(path.name + ".tmp"), path.with_name(path.name + ".old")
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    with writing(path):
        try:
            temporary.mkdir(parents=True)
            yield temporary
            for file in filter(Path.is_file, temporary.rglob("*")):
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            if path.exists():
                path.rename(old)
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    shutil.rmtree(old, ignore_errors=True)


def save_full(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Writes a transformers folder: safetensors, configuration, generation configuration, tokenizer."""
    with whole_folder(path) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
