"""A folder of lm-eval tasks with data on disk: which number solves a story of the lab, in several languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lidr.lab.world import problems, render_prompt

ITEMS = 8
OPTIONS = 4
SHOTS = 2


def documents(language: str, count: int = ITEMS) -> list[dict[str, Any]]:
    """Items whose ids are the same in all languages; es has them in another order and lacks the first one."""
    found = []
    for number, problem in enumerate(problems("test")[:count]):
        options = [str(problem.answer + (number + shift) % OPTIONS) for shift in range(OPTIONS)]
        question = render_prompt(problem, language)
        right = options.index(str(problem.answer))
        found.append({"id": problem.id, "question": question, "options": options, "right": right})
    return found[:0:-1] if language == "es" else found


def shots(language: str) -> list[dict[str, Any]]:
    """The examples before each question."""
    return documents(language, 40)[-SHOTS:] if language != "es" else documents(language, 40)[:SHOTS]


def write(folder: Path, languages: tuple[str, ...] = ("en", "es"), **changes: Any) -> Path:
    """``toy_<language>``: multiple choice with acc and acc_norm; `changes` of the task's keys."""
    for language in languages:
        data = {"test": documents(language), "train": shots(language)}
        for split, rows in data.items():
            path = folder / "data" / f"{language}-{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        add(folder, f"toy_{language}", **(_task(folder, language) | changes))
    return folder


def add(folder: Path, name: str, **keys: Any) -> None:
    """A task file; YAML reads JSON."""
    (folder / f"{name}.yaml").write_text(json.dumps({"task": name} | keys, indent=1), encoding="utf-8")


def _task(folder: Path, language: str) -> dict[str, Any]:
    files = {split: str(folder / "data" / f"{language}-{split}.jsonl") for split in ("test", "train")}
    return {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")},
        "output_type": "multiple_choice",
        "test_split": "test",
        "fewshot_split": "train",
        "fewshot_config": {"sampler": "first_n"},
        "doc_to_text": "{{question}}\nAnswer:",
        "doc_to_choice": "options",
        "doc_to_target": "right",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True}
            for metric in ("acc", "acc_norm")
        ],
    }


def of(folder: Path, language: str) -> dict[str, Any]:
    """The keys of a task of `write`."""
    return _task(folder, language)
