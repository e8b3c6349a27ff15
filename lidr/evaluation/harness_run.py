"""One task of lm-eval on a loaded model: what each of its items came to, and lm-eval's own numbers."""

from __future__ import annotations

import io
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lidr.config import LmEvalConfig
from lidr.errors import LidrError
from lidr.evaluation.harness_store import Item, Result
from lidr.evaluation.harness_tasks import module, own_warnings

FEWSHOT_SEED = (
    1234  # lm-eval's own: every run and every seed sees the examples that published numbers are made with
)
_BOOTSTRAP = 100  # of lm-eval's standard errors; those of means are exact and need none
_HASH = 16  # digits


class Runner:
    """Runs tasks of a benchmark on one model.

    Args:
        model: in evaluation mode, on its device.
        benchmark: whose tasks these are.
        system_prompt: of the model, for chat turns.
        where: config path of the benchmark.

    Raises:
        LidrError: lm-eval is not installed.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        benchmark: LmEvalConfig,
        system_prompt: str | None,
        where: str,
    ) -> None:
        self.benchmark, self.where = benchmark, where
        self._system = system_prompt if benchmark.chat_template else None
        self._evaluator = module("lm_eval.evaluator", where)
        with own_warnings():
            self._lm = module("lm_eval.models.huggingface", where).HFLM(
                pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=benchmark.batch_size
            )

    def run(self, known: Any, task: str, language: str, metrics: Mapping[str, str]) -> Result:
        """Runs one task.

        Args:
            known: lm-eval's `TaskManager`.
            task: a name that it knows.
            metrics: lm-eval's metrics by their names in tables; ``metric,filter`` where a task has several filters.

        Raises:
            LidrError: the task's data cannot be loaded, it lacks a metric or the key of its items, or a metric is no
                share.
        """
        with own_warnings(), _seeded(), _bars_on_terminals():
            loaded = self._load(known, task)
            for each in loaded["tasks"].values():
                self._prepare(each, metrics)
            found = self._evaluator.evaluate(
                lm=self._lm,
                task_dict=loaded,
                limit=self.benchmark.limit,
                bootstrap_iters=_BOOTSTRAP,
                log_samples=True,
                system_instruction=self._system,
                apply_chat_template=self.benchmark.chat_template,
                fewshot_as_multiturn=self.benchmark.chat_template,
            )
        items = [
            item
            for name in loaded["tasks"]
            for item in self._items(found["samples"][name], name, language, metrics)
        ]
        return Result(items, {name: _summary(found, name) for name in loaded["tasks"]})

    def _load(self, known: Any, task: str) -> Any:
        try:
            return known.load([task])
        except Exception as error:  # whatever a task's own code and the libraries of its data raise
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise LidrError(
                f"lm-eval cannot load the data of {task!r} ({reason})",
                where=self.where,
                instead=_REACH if _is_about_files(error) else "mend the task's file",
            ) from error

    def _prepare(self, task: Any, metrics: Mapping[str, str]) -> None:
        """Sets the few-shot examples as lm-eval's own command does, and refuses what would fail only at the end."""
        means = [
            m for m, function in task.aggregation().items() if getattr(function, "__name__", "") == "mean"
        ]
        for name, metric in metrics.items():
            if metric.partition(",")[0] not in means:
                raise self._no_metric(name, metric, task.task_name, means)
        self._key(task.task_docs[0], task.task_name)
        own, wanted = task.get_config("num_fewshot"), self.benchmark.num_fewshot
        if own is None or (own != 0 and wanted is not None):
            task.set_config(key="num_fewshot", value=wanted or 0)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)

    def _key(self, document: Mapping[str, Any], task: str) -> str | None:
        keys = self.benchmark.item_keys
        found = next((key for key in keys if key in document), None)
        if keys and found is None:
            raise LidrError(
                f"the documents of {task!r} have no key {' or '.join(map(repr, keys))}",
                where=f"{self.where}.item_keys",
                instead=f"choose from {', '.join(sorted(document))}, or [] where none names an item in all languages",
            )
        return found

    def _items(
        self, samples: Sequence[Mapping[str, Any]], task: str, language: str, metrics: Mapping[str, str]
    ) -> Iterator[Item]:
        """Items in the order of the documents; without a key they are named by language and content."""
        by_document: dict[int, dict[str, Mapping[str, Any]]] = {}
        for sample in samples:
            by_document.setdefault(sample["doc_id"], {})[sample["filter"]] = sample
        for number in sorted(by_document):
            filtered = by_document[number]
            first = next(iter(filtered.values()))
            key = self._key(first["doc"], task)
            identity = str(first["doc"][key]) if key else f"{language}-{first['doc_hash'][:_HASH]}"
            values = {name: self._value(filtered, metric, name, task) for name, metric in metrics.items()}
            yield Item(identity, values)

    def _value(self, filtered: Mapping[str, Mapping[str, Any]], metric: str, name: str, task: str) -> float:
        wanted, _, chosen = metric.partition(",")
        sample = (
            filtered.get(chosen) if chosen else next(iter(filtered.values())) if len(filtered) == 1 else None
        )
        if sample is None or wanted not in sample:
            raise self._no_metric(
                name, metric, task, [f"{m},{f}" for f, s in filtered.items() for m in s["metrics"]]
            )
        value = sample[wanted]
        if not isinstance(value, (bool, int, float, np.number)) or not 0 <= float(value) <= 1:
            raise LidrError(
                f"{metric!r} of {task!r} is {value!r} for one item, no share between 0 and 1",
                where=f"{self.where}.metrics.{name}.metric",
                instead="choose a metric such as acc",
            )
        return float(value)

    def _no_metric(self, name: str, metric: str, task: str, known: Sequence[str]) -> LidrError:
        return LidrError(
            f"{task!r} has no metric {metric!r} that is a mean over items",
            where=f"{self.where}.metrics.{name}.metric",
            instead="choose from " + ", ".join(known),
        )


_REACH = (
    "fetch it once where there is a network, into the folder that HF_HOME names, or give tasks of your own with local"
    " files: include_path"
)


def _is_about_files(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is of a file or a connection that is not there."""
    while error is not None:
        if isinstance(error, OSError) or type(error).__module__.startswith(
            ("httpx", "huggingface_hub", "requests")
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _summary(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    numbers = {k: v for k, v in found["results"][name].items() if "," in k and isinstance(v, (int, float))}
    return {
        "metrics": {k: float(v) for k, v in sorted(numbers.items()) if math.isfinite(v)},
        "items": int(found["n-samples"][name]["effective"]),
        "items_of_task": int(found["n-samples"][name]["original"]),
        "num_fewshot": found["n-shot"].get(name),
        "task_version": found["versions"].get(name),
        "lm_eval": version("lm_eval"),
    }


@contextmanager
def _seeded() -> Iterator[None]:
    """The same random numbers for a task's own code each time; those of everything else go on as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(0)
        np.random.seed(FEWSHOT_SEED)
        torch.manual_seed(FEWSHOT_SEED)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _bars_on_terminals() -> Any:
    """Progress bars are for people."""
    return nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())
