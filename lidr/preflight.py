"""What can be known to fail before anything runs: the prompts, and the folders of models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from lidr import model_folder, prompts
from lidr.config import ModelConfig, PromptsConfig, RunConfig
from lidr.errors import ConfigError, LidrError
from lidr.evaluation import harness_tasks
from lidr.paths import resolve_model

_LOCAL = ("models/", "/", "./", "../", "~")


def preflight(config: RunConfig) -> None:
    """Reads every prompt file a run will need, and looks for lm-eval's tasks, and for a model that must be a folder.

    Raises:
        ConfigError: everything that is missing, broken or too little.
    """
    problems = [*_models(config), *_caught(lambda: _loop_prompts(config))]
    for benchmark in config.asked_benchmarks.values():
        languages = benchmark.codes(config.languages)
        problems += _caught(lambda b=benchmark.prompts, codes=languages: read_prompts(b, codes))  # type: ignore[misc]
    problems += harness_tasks.problems(config)
    if problems:
        raise ConfigError(problems)


def _caught(action: Callable[[], object]) -> Iterator[LidrError]:
    try:
        action()
    except LidrError as error:
        yield error


def _models(config: RunConfig) -> Iterator[LidrError]:
    yield from _model(config.model, "model.path")
    if config.translator.model is not None:
        yield from _model(config.translator.model, "translator.model.path")


def _model(model: ModelConfig, where: str) -> Iterator[LidrError]:
    path = resolve_model(model.path)
    if path.startswith(_LOCAL) and not Path(path).exists():
        instead = f"type {where}=<model folder or hub id>"
        if model.name == "smollm2-135m":
            instead = f"run `make smollm2`, or {instead}"
        yield LidrError(f"there is no folder {path!r}", where=where, instead=instead)
    else:
        yield from _caught(lambda: model_folder.check(path))


def _loop_prompts(config: RunConfig) -> None:
    aligned = read_prompts(config.prompts, config.languages.trained)
    prompts.refuse_conversations(aligned, config.prompts)
    prompts.check_enough(aligned, config.prompts, config.prompt_schedule, config.iterations)


@lru_cache(maxsize=8)
def read_prompts(config: PromptsConfig, languages: tuple[str, ...]) -> prompts.AlignedPrompts:
    """Once for all jobs of a grid that share their prompts."""
    return prompts.load(config, languages)
