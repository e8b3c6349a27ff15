"""What can be known to fail before anything runs: the prompts and the model's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from lidr import prompts
from lidr.config import PromptsConfig, RunConfig
from lidr.errors import ConfigError, LidrError
from lidr.paths import resolve_model

_LOCAL = ("models/", "/", "./", "../", "~")


def preflight(config: RunConfig) -> None:
    """Reads every prompt file a run will need, and looks for the model where it must be a folder.

    Raises:
        ConfigError: everything that is missing, broken or too little.
    """
    problems = [*_model(config), *_caught(lambda: _loop_prompts(config))]
    for benchmark in config.evaluation.values():
        languages = benchmark.codes(config.languages)
        problems += _caught(lambda b=benchmark.prompts, codes=languages: _read(b, codes))  # type: ignore[misc]
    if problems:
        raise ConfigError(problems)


def _caught(action: Callable[[], object]) -> Iterator[LidrError]:
    try:
        action()
    except LidrError as error:
        yield error


def _model(config: RunConfig) -> Iterator[LidrError]:
    path = resolve_model(config.model.path)
    if path.startswith(_LOCAL) and not Path(path).expanduser().is_dir():
        instead = "type model.path=<model folder or hub id>"
        if config.model.name == "smollm2-135m":
            instead = f"run `make smollm2`, or {instead}"
        yield LidrError(f"there is no folder {path!r}", where="model.path", instead=instead)


def _loop_prompts(config: RunConfig) -> None:
    aligned = _read(config.prompts, config.languages.trained)
    prompts.check_enough(aligned, config.prompts, config.prompt_schedule, config.iterations)


@lru_cache(maxsize=8)
def _read(config: PromptsConfig, languages: tuple[str, ...]) -> prompts.AlignedPrompts:
    """Once for all jobs of a grid that share their prompts."""
    return prompts.load(config, languages)
