"""Runs of the toy tasks on the lab's model, and the same numbers calculated without lm-eval."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lidr import jsonl
from lidr.compose import compose_run
from lidr.config import Accelerator, Precision, RunConfig, TaskMetric
from lidr.evaluation import harness
from lidr.evaluation.run import evaluate
from lidr.evaluation.scores import Score
from lidr.models import load_model, load_tokenizer, torch_device
from lidr.paths import resolve_model
from tests.evaluation import toy_tasks

MODEL = resolve_model("builtin:lab")
needs_lm_eval = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None,
    reason="lm-eval is not installed: pip install 'lidr[lm_eval]'",
)


def configured(folder: Path, **changes: Any) -> RunConfig:
    """A run with the toy benchmark alone: en is dominant, es is not."""
    base = compose_run(
        [
            "evaluation=[arc]",
            "tracking=none",
            "languages.non_dominant=[es]",
            "languages.unseen=[]",
            "trainer=cpu",
        ]
    )
    metrics = {
        "accuracy": TaskMetric("toy_{language}", "acc"),
        "accuracy_norm": TaskMetric("toy_{language}", "acc_norm"),
    }
    benchmark = dataclasses.replace(
        base.lm_eval_benchmarks["arc"],
        **{"metrics": metrics, "renamed": {}, "num_fewshot": 0, "include_path": str(folder), "batch_size": 3}
        | changes,
    )
    return dataclasses.replace(base, evaluation={"toy": benchmark})


def run(config: RunConfig, folder: Path, model: str = MODEL) -> list[Score]:
    harness.complete(config, model, folder)
    return evaluate(config, 0, no_engine, folder, folder / "pairs")


def no_engine() -> Any:
    raise AssertionError("nothing is asked of an engine")


def find(scores: Sequence[Score], language: str, metric: str) -> Score:
    (found,) = [s for s in scores if (s.language, s.metric) == (language, metric)]
    return found


def log_likelihood(model: Any, tokenizer: Any, context: str, continuation: str) -> float:
    """log p(continuation | context), a forward pass for each, nothing of lm-eval in it.

    As in lm-eval the continuation's tokens are those of the whole text behind as many as the context has, and they
    follow the context's own: the lab's tokenizer would otherwise merge the colon with the blank behind it.
    """
    special = not context.startswith(tokenizer.bos_token)  # a chat template writes its own
    context_ids, whole = (
        tokenizer(text, add_special_tokens=special)["input_ids"] for text in (context, context + continuation)
    )
    ids = context_ids + whole[len(context_ids) :]
    with torch.inference_mode():
        scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(float(scores[i - 1, ids[i]]) for i in range(len(context_ids), len(ids)))


@cache
def expected(
    language: str, path: str = MODEL, shots: int = 0, chat: bool = False
) -> dict[str, dict[str, float]]:
    """acc and acc_norm of every item, by id."""
    model, tokenizer = load_model(path, Precision.FP32, torch_device(Accelerator.CPU)), load_tokenizer(path)
    before = "".join(
        f"{d['question']}\nAnswer: {d['options'][d['right']]}\n\n" for d in toy_tasks.shots(language)[:shots]
    )
    found = {}
    for document in toy_tasks.documents(language):
        context, options = f"{before}{document['question']}\nAnswer:", document["options"]
        if chat:
            turns = [{"role": "user", "content": context}]
            context = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        scores = [
            log_likelihood(model, tokenizer, context, option if chat else f" {option}") for option in options
        ]
        by_length = [score / len(option) for score, option in zip(scores, options, strict=True)]
        found[document["id"]] = {
            "accuracy": float(np.argmax(scores) == document["right"]),
            "accuracy_norm": float(np.argmax(by_length) == document["right"]),
        }
    return found


def stored(folder: Path, language: str) -> dict[str, dict[str, float]]:
    records = jsonl.read(folder / "toy" / f"{language}.jsonl")
    return {r["id"]: {k: r[k] for k in ("accuracy", "accuracy_norm")} for r in records}
