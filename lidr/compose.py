"""Hydra composition with every mistake found first, in words that say what to type instead."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lidr.config import RunConfig, from_mapping
from lidr.config.load import knows, suggest
from lidr.errors import ConfigError, LidrError, did_you_mean

VERSION_BASE = "1.3"
_PACKAGED = Path(__file__).parent / "_config"
_CHECKOUT = Path(__file__).parent.parent


def config_folder(name: str) -> Path:
    """Where ``conf``, ``experiments`` or ``sweeps`` lies: inside an installed package, or in the checkout."""
    packaged = _PACKAGED / name
    return packaged if packaged.is_dir() else _CHECKOUT / name


class _Rooms(SearchPathPlugin):
    """Adds ``experiments/`` and ``sweeps/`` beside ``conf/``; ``conf`` in the working folder comes last."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for name in ("experiments", "sweeps"):
            search_path.append(provider="lidr", path=f"file://{config_folder(name)}")
        own = Path.cwd() / "conf"
        if own.is_dir() and own != config_folder("conf"):
            search_path.append(provider="working folder", path=f"file://{own}")


def register() -> None:
    """Makes Hydra find the groups outside ``conf/``; calling it again changes nothing."""
    plugins = Plugins.instance()
    if _Rooms not in plugins.discover(SearchPathPlugin):
        plugins.register(_Rooms)


def compose_run(overrides: Sequence[str]) -> RunConfig:
    """The configuration of one run.

    Raises:
        ConfigError: every mistake in the overrides, or else every one in the composed values.
    """
    with _hydra() as loader:
        parsed = _parse(overrides)
        _check(parsed, loader)
        if any(o.is_sweep_override() for o in parsed):
            raise ConfigError(
                [LidrError("several values for one run", where=", ".join(overrides), instead="add -m")]
            )
        return to_run(_compose(overrides))


def compose_sweep(overrides: Sequence[str]) -> list[tuple[list[str], RunConfig]]:
    """Every job of a multirun, in the order Hydra's basic sweeper starts them: its overrides and configuration.

    Raises:
        ConfigError: a mistake in any of the jobs; nothing was started.
    """
    with _hydra() as loader:
        parsed = _parse(overrides)
        _check(parsed, loader)
        fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
        base = _compose([*fixed, *_first_choices(parsed)], hydra=True)
        params = OmegaConf.to_container(base.hydra.sweeper.get("params") or OmegaConf.create({}))
        typed = {o.get_key_element() for o in parsed}
        swept = _parse([f"{k}={v}" for k, v in dict(params or {}).items() if k not in typed])  # type: ignore[arg-type]
        _check(swept, loader)
        jobs = [list(job) for job in itertools.product(*map(_choices, [*swept, *parsed]))]
        return [(job, to_run(_compose(job))) for job in jobs]


def is_sweep(overrides: Sequence[str]) -> bool:
    """Whether overrides name more than one job: ``-m``, or a chosen ``sweep=``."""
    return any(o in ("-m", "--multirun") or o.startswith("sweep=") for o in overrides)


class _hydra:  # noqa: N801
    """Hydra initialised on the project's folders for the length of a ``with`` block."""

    def __enter__(self) -> ConfigLoaderImpl:
        register()
        GlobalHydra.instance().clear()
        self._context = initialize_config_dir(str(config_folder("conf").resolve()), version_base=VERSION_BASE)
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        return loader

    def __exit__(self, *_: object) -> None:
        GlobalHydra.instance().clear()


def _parse(overrides: Sequence[str]) -> list[Override]:
    parser, parsed, problems = OverridesParser.create(), [], []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except HydraException:
            problems.append(LidrError("cannot be read", where=text, instead=_readable(text)))
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


def _check(overrides: Sequence[Override], loader: ConfigLoaderImpl) -> None:
    """Every key and option against the schema and the groups, before Hydra sees them."""
    problems = [problem for override in overrides for problem in _problems(override, loader)]
    if problems:
        raise ConfigError(problems)


def _problems(override: Override, loader: ConfigLoaderImpl) -> Iterator[LidrError]:
    key = override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        return
    groups = [g for g in loader.list_groups("") if g != "hydra"]
    if key in groups:
        yield from _option_problems(override, key, loader)
    elif not knows(key):
        instead = f"did you mean {key.split('.')[0]}...?" if not key else _nearest_key(key, groups)
        yield LidrError("unknown key", where=override.input_line or key, instead=instead)


def _nearest_key(key: str, groups: Sequence[str]) -> str:
    return suggest(key) if "." in key else did_you_mean(key, [*groups, *_TOP_LEVEL])


_TOP_LEVEL = ("name", "seed", "iterations", "prompt_schedule", "reference", "processes")


def _option_problems(override: Override, group: str, loader: ConfigLoaderImpl) -> Iterator[LidrError]:
    options = loader.get_group_options(group, results_filter=ObjectType.CONFIG)
    for value in _values(override):
        for option in value if isinstance(value, list) else [value]:
            if option is not None and str(option) not in options:
                yield LidrError(
                    f"{str(option)!r} is no choice of {group}",
                    where=override.input_line or group,
                    instead=did_you_mean(str(option), options),
                )


def _values(override: Override) -> list[object]:
    if override.is_delete():
        return []
    if override.is_sweep_override():
        return list(override.sweep_iterator())
    return [override.value()]


def _choices(override: Override) -> list[str]:
    """One override text for every value of a swept override; an override that is not swept is its own."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _first_choices(overrides: Sequence[Override]) -> list[str]:
    return [_choices(o)[0] for o in overrides if o.is_sweep_override()]


def _compose(overrides: Sequence[str], hydra: bool = False) -> DictConfig:
    try:
        return compose("config", overrides=list(overrides), return_hydra_config=hydra)
    except (HydraException, OmegaConfBaseException) as error:
        problem = _absent_section(str(error)) or LidrError(
            _first_cause(error), where=" ".join(overrides) or "conf/config.yaml"
        )
        raise ConfigError([problem]) from error


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


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split("\n")[0].split())


def to_run(config: DictConfig) -> RunConfig:
    """Applies the schema to what Hydra composed: the one door between YAML and the code.

    Raises:
        ConfigError: every value that is missing, unknown, of a wrong type or against a rule.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigError(LidrError("has no value", where=k, instead=f"type {k}=<value>") for k in missing)
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError([LidrError(_first_cause(error), where="configuration")]) from error
    assert isinstance(values, dict)
    return from_mapping({str(k): v for k, v in values.items()})
