"""What Hydra itself would instantiate from a configuration, held to what it brings along.

Nothing here instantiates a run's values: they are checked against a schema that has no ``_target_``. Hydra does so with
its own section in a multirun: a sweeper, a launcher, callbacks and log handlers, which a configuration file of another
person could name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lidr.errors import ConfigError, LidrError
from lidr.printable import short

_PLUGIN = re.compile(
    r"hydra\._internal\.core_plugins\.basic_(?:launcher\.BasicLauncher|sweeper\.BasicSweeper)"
    r"|hydra_plugins\.hydra_(?:joblib|submitit)_launcher\.\w+\.\w+"
    r"|hydra_plugins\.hydra_optuna_sweeper\.optuna_sweeper\.OptunaSweeper"
)
_SAMPLER = re.compile(r"optuna\.samplers\.\w+")
_HANDLER = re.compile(r"(?:logging|colorlog)\.\w+")
_PLACES = {"sweeper._target_", "launcher._target_"}
# Of a launcher and a sweeper, what is no class and is run all the same: lines of a shell, and a function's name.
_RUN = ("launcher.setup", "sweeper.custom_search_space")
_INSTEAD = "remove it; hydra/launcher=joblib and the like are chosen as groups"


def refuse_foreign_code(hydra: DictConfig) -> None:
    """Looks through Hydra's section before Hydra reads it.

    Raises:
        ConfigError: it names a class or function other than Hydra's own launchers, sweeper and the log handlers of
            Python.
    """
    try:
        values = OmegaConf.to_container(hydra, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError([LidrError(short(error), where="hydra", instead=_INSTEAD)]) from error
    assert isinstance(values, dict)
    problems = [*_run_all_the_same(values), *_lines_of_a_script(values.get("launcher"), "launcher")]
    problems += [
        LidrError(f"{short(value)!r} would be run", where=f"hydra.{place}", instead=_INSTEAD)
        for place, value in _named(values, "")
        if not _is_known(place, str(value))
    ]
    if problems:
        raise ConfigError(problems)


def _run_all_the_same(values: Any) -> Iterator[LidrError]:
    for place in _RUN:
        section, _, key = place.partition(".")
        value = (values.get(section) or {}).get(key)
        if value:
            yield LidrError(f"{short(str(value))!r} would be run", where=f"hydra.{place}", instead=_INSTEAD)


def _lines_of_a_script(value: Any, place: str) -> Iterator[LidrError]:
    """submitit writes a launcher's values into the script of a job, where a line end begins a command."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _lines_of_a_script(str(key), f"{place}.{short(str(key))}")
            yield from _lines_of_a_script(child, f"{place}.{short(str(key))}")
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _lines_of_a_script(child, f"{place}.{number}")
    elif isinstance(value, str) and not value.isprintable():
        yield LidrError(
            f"{short(value)!r} has a line end or another control character",
            where=f"hydra.{place}",
            instead="type it on one line",
        )


def _named(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Everything that names code to run, with its place."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            path = f"{place}.{key}" if place else str(key)
            if key in ("_target_", "()") or (key == "class" and "logging" in place):
                yield path, child
            else:
                yield from _named(child, path)
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from _named(child, f"{place}.{number}")


def _is_known(place: str, name: str) -> bool:
    if place.endswith(".class"):
        return _HANDLER.fullmatch(name) is not None
    if place == "sweeper.sampler._target_":
        return _SAMPLER.fullmatch(name) is not None
    return place in _PLACES and _PLUGIN.fullmatch(name) is not None
