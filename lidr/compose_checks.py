"""Overrides looked at before Hydra sees them, and Hydra's errors in words that say what to type instead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from lidr.config import RunConfig
from lidr.config.judge_schema import JudgingConfig
from lidr.config.load import knows, schema_keys, suggest
from lidr.errors import ConfigError, LidrError, did_you_mean
from lidr.printable import short

SHOWN = 300  # characters of overrides in an error


def parsed_overrides(overrides: Sequence[str]) -> list[Override]:
    """Overrides as Hydra reads them.

    Raises:
        ConfigError: every one that cannot be read.
    """
    parser, parsed, problems = OverridesParser.create(), [], []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except (HydraException, RecursionError, ValueError):
            where = short(text, SHOWN) or "an override of nothing"
            problems.append(LidrError("cannot be read", where=where, instead=_readable(where)))
    if problems:
        raise ConfigError(problems)
    return parsed


def _readable(text: str) -> str:
    key, _, value = text.partition("=")
    if key and value and not value.startswith(('"', "'")):
        return (
            f"type key=value or group=option; a value with special characters in quotes: '{key}=\"{value}\"'"
        )
    return "type key=value or group=option"


def check_overrides(
    overrides: Sequence[Override], loader: ConfigLoaderImpl, root: type[Any] = RunConfig
) -> None:
    """Every key and option against the schema and the groups, before Hydra sees them."""
    groups = _groups(loader, root)
    problems = [problem for override in overrides for problem in _problems(override, groups, loader, root)]
    if problems:
        raise ConfigError(problems)


def _problems(
    override: Override, groups: Sequence[str], loader: ConfigLoaderImpl, root: type[Any]
) -> Iterator[LidrError]:
    key = override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        return
    if key in groups:
        yield from _option_problems(override, key, loader)
    elif root is not JudgingConfig and key in _OF_JUDGING:
        yield LidrError(
            "is no part of a run", where=override.input_line or key, instead=f"lidr judge RUN {key}=..."
        )
    elif not knows(key, root):
        instead = _nearest_key(key, groups, root) if key else "type key=value"
        yield LidrError("unknown key", where=short(override.input_line or key, SHOWN), instead=instead)


def _groups(loader: ConfigLoaderImpl, root: type[Any]) -> list[str]:
    """The groups that a run has, or the judging of runs."""
    groups = [group for group in loader.list_groups("") if group != "hydra"]
    if root is JudgingConfig:
        return [group for group in groups if group in (*_OF_JUDGING, *_OF_BOTH)]
    return [group for group in groups if group not in _OF_JUDGING]


def _nearest_key(key: str, groups: Sequence[str], root: type[Any]) -> str:
    top = {known for known in schema_keys(root) if "." not in known}
    return suggest(key, root) if "." in key else did_you_mean(key, [*groups, *top])


_OF_JUDGING = ("judge", "wording")
_OF_BOTH = ("engine", "paths")


def _option_problems(override: Override, group: str, loader: ConfigLoaderImpl) -> Iterator[LidrError]:
    options = loader.get_group_options(group, results_filter=ObjectType.CONFIG)
    for value in _values(override):
        for option in value if isinstance(value, list) else [value]:
            if option is not None and str(option) not in options:
                yield LidrError(
                    f"{short(option)!r} is no choice of {group}",
                    where=short(override.input_line or group, SHOWN),
                    instead=did_you_mean(str(option), options),
                )


def _values(override: Override) -> list[object]:
    if override.is_delete():
        return []
    if override.is_sweep_override():
        return list(override.sweep_iterator())
    return [override.value()]


_OVERRIDDEN = re.compile(r"Could not override '([^']+)'")
# Sections that are null, or stand for another one, until they are chosen.
_CHOSEN_BY = {
    "translator.engine.endpoint": "+engine@translator.engine=openai",
    "translator.engine.vllm": "+engine@translator.engine=vllm",
    "translator.engine": "+engine@translator.engine=transformers",
    "translator.model": "translator=engine",
    "engine.endpoint": "engine=openai",
    "engine.vllm": "engine=vllm",
}


_PLUGIN = re.compile(r"'?hydra/(launcher|sweeper)[=/](joblib|submitit_local|submitit_slurm|optuna)\b")


def _absent_plugin(message: str) -> LidrError | None:
    """Of a launcher or sweeper that is not installed, what to install."""
    found = _PLUGIN.search(message)
    if found is None:
        return None
    group, name = found.groups()
    extra = name.partition("_")[0]
    return LidrError(
        f"needs hydra-{extra}-{group}",
        where=f"hydra/{group}={name}",
        instead=f"install with: pip install 'lidr[{extra}]'",
    )


def _absent_section(message: str) -> LidrError | None:
    """Of an override below a section that is not there, what to choose first."""
    found = _OVERRIDDEN.search(message)
    if found is None:
        return None
    for section, choice in _CHOSEN_BY.items():
        if found[1].startswith(f"{section}."):
            return LidrError(
                f"there is no section {section} of its own", where=found[1], instead=f"type {choice} too"
            )
    if found[1].startswith("evaluation."):
        name = found[1].split(".")[1]
        return LidrError(
            "is no key of a chosen benchmark",
            where=found[1],
            instead=f"choose {name} with evaluation=[...]; `lidr check` shows the keys of its kind",
        )
    return None


def first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return short(" ".join(str(error).split("\n")[0].split()), SHOWN)


def absent(message: str) -> LidrError | None:
    """Of an error of Hydra's about something that is not there, what to choose or to install first."""
    return _absent_section(message) or _absent_plugin(message)
