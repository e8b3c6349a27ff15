"""A few made-up rows in the layout that lm-eval's tasks of Okapi read, where `datasets` looks for them first: here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROWS = 4
LANGUAGES = ("de", "es")
Rows = list[dict[str, Any]]


def write(folder: Path) -> None:
    """The datasets ``alexandrainst/m_*`` below a folder, which has to be the working folder."""
    letters = [{"id": f"q{i}", "answer": "ABCD"[i % 4], **_options(i)} for i in range(ROWS)]
    endings = [
        {
            "id": f"q{i}",
            "activity_label": "Kochen",
            "ctx_a": f"{i} Eier",
            "ctx_b": "dann",
            "label": str(i % 4),
        }
        | {"endings": [f"{i + shift} Eier" for shift in range(4)]}
        for i in range(ROWS)
    ]
    answers = [
        {
            "question": f"{i} + {i}?",
            **{f"mc{n}_targets_choices": [f"{2 * i}", f"{2 * i}.", "7", "9"] for n in (1, 2)},
            "mc1_targets_labels": [1, 0, 0, 0],
            "mc2_targets_labels": [1, 1, 0, 0],
        }
        for i in range(ROWS)
    ]
    _dataset(
        folder / "m_arc", [{**row, "option_e": None} for row in letters], ("train", "validation", "test")
    )
    _dataset(folder / "m_mmlu", letters, ("train", "test"))
    _dataset(folder / "m_hellaswag", endings, ("val",))
    _dataset(folder / "m_truthfulqa", answers, ("val",))


def _options(number: int) -> Mapping[str, str]:
    options = {f"option_{letter}": str(number + shift) for shift, letter in enumerate("abcd")}
    return {"instruction": f"{number} + {number}?", **options}


def _dataset(folder: Path, rows: Rows, splits: Sequence[str]) -> None:
    """es lacks the first row, as translations lack some; a README names the files of each language."""
    configs = []
    for language in LANGUAGES:
        files = [{"split": split, "path": f"{language}/{split}.jsonl"} for split in splits]
        configs.append({"config_name": language, "data_files": files})
        for split in splits:
            path = folder / language / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            own = rows[1:] if language == "es" and split in ("test", "val") else rows
            path.write_text("".join(json.dumps(row) + "\n" for row in own), encoding="utf-8")
    (folder / "README.md").write_text(f"---\n{json.dumps({'configs': configs})}\n---\n", encoding="utf-8")
