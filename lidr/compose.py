"""Hydra composition with every mistake found first, in words that say what to type instead."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
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

from lidr.compose_safety import refuse_foreign_code
from lidr.config import EndpointConfig, RunConfig, from_mapping, judge_rules, to_mapping
from lidr.config.identity import flatten
from lidr.config.judge_schema import JudgingConfig
from lidr.config.load import knows, schema_keys, suggest, validated, yaml_fault
from lidr.config.names import endpoints, secrets_in
from lidr.errors import ConfigError, LidrError, did_you_mean
from lidr.printable import short

VERSION_BASE = "1.3"
_SHOWN = 300  # characters of overrides in an error
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
    with hydra_on_project() as loader:
        parsed = parsed_overrides(overrides)
        _check(parsed, loader)
        if any(o.is_sweep_override() for o in parsed):
            raise ConfigError(
                [LidrError("several values for one run", where=", ".join(overrides), instead="add -m")]
            )
        return to_run(composed(overrides))


def compose_judging(overrides: Sequence[str]) -> JudgingConfig:
    """What is judged, and by whom; from ``conf/judging.yaml``.

    Raises:
        ConfigError: every mistake in the overrides, or else every one in the composed values.
    """
    with hydra_on_project() as loader:
        parsed = parsed_overrides(overrides)
        _check(parsed, loader, JudgingConfig)
        swept = [o.input_line or "" for o in parsed if o.is_sweep_override()]
        if swept:
            raise ConfigError(
                LidrError("several values", where=text, instead="a list goes in brackets: key=[a,b]")
                for text in swept
            )
        values = _values_of(composed(overrides, name="judging"))
        judging = validated(values, JudgingConfig, judge_rules.violations)
        engines = [judge.engine for judge in judging.judges.values() if judge.engine is not None]
        _refuse_secrets(judging, [e.endpoint for e in engines if e.endpoint is not None])
        return judging


def compose_sweep(overrides: Sequence[str]) -> list[tuple[list[str], RunConfig]]:
    """Every job of a multirun, in the order Hydra's basic sweeper starts them: its overrides and configuration.

    Raises:
        ConfigError: a mistake in any of the jobs; nothing was started.
    """
    with hydra_on_project() as loader:
        parsed = parsed_overrides(overrides)
        _check(parsed, loader)
        fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
        base = composed([*fixed, *_first_choices(parsed)], hydra=True)
        refuse_foreign_code(base.hydra)
        params = OmegaConf.to_container(base.hydra.sweeper.get("params") or OmegaConf.create({}))
        typed = {o.get_key_element() for o in parsed}
        swept = parsed_overrides([f"{k}={v}" for k, v in dict(params or {}).items() if k not in typed])  # type: ignore[arg-type]
        _check(swept, loader)
        jobs = [list(job) for job in itertools.product(*map(_choices, [*swept, *parsed]))]
        return [(job, to_run(composed(job))) for job in jobs]


def check_hydra(overrides: Sequence[str]) -> None:
    """Composes what Hydra's own commands would show, and holds its section to what it may name.

    Raises:
        ConfigError: there is a mistake in it, or it names code to run.
    """
    with hydra_on_project() as loader:
        parsed = parsed_overrides(overrides)
        _check(parsed, loader)
        fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
        refuse_foreign_code(composed([*fixed, *_first_choices(parsed)], hydra=True).hydra)


def is_sweep(overrides: Sequence[str]) -> bool:
    """Whether overrides name more than one job: ``-m``, or a chosen ``sweep=``."""
    return any(o in ("-m", "--multirun") or o.startswith("sweep=") for o in overrides)


class hydra_on_project:  # noqa: N801
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


def parsed_overrides(overrides: Sequence[str]) -> list[Override]:
    parser, parsed, problems = OverridesParser.create(), [], []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except (HydraException, RecursionError, ValueError):
            where = short(text, _SHOWN) or "an override of nothing"
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


def _check(overrides: Sequence[Override], loader: ConfigLoaderImpl, root: type[Any] = RunConfig) -> None:
    """Every key and option against the schema and the groups, before Hydra sees them."""
    problems = [problem for override in overrides for problem in _problems(override, loader, root)]
    if problems:
        raise ConfigError(problems)


def _problems(override: Override, loader: ConfigLoaderImpl, root: type[Any]) -> Iterator[LidrError]:
    key = override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        return
    judging = root is JudgingConfig
    groups = [g for g in loader.list_groups("") if g != "hydra" and _is_group_of(g, judging)]
    if key in groups:
        yield from _option_problems(override, key, loader)
    elif not judging and key in _OF_JUDGING:
        yield LidrError(
            "is no part of a run", where=override.input_line or key, instead=f"lidr judge RUN {key}=..."
        )
    elif not knows(key, root):
        instead = _nearest_key(key, groups, root) if key else "type key=value"
        yield LidrError("unknown key", where=short(override.input_line or key, _SHOWN), instead=instead)


def _is_group_of(group: str, judging: bool) -> bool:
    return group in (*_OF_JUDGING, *_OF_BOTH) if judging else group not in _OF_JUDGING


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
                    where=short(override.input_line or group, _SHOWN),
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


def composed(overrides: Sequence[str], hydra: bool = False, name: str = "config") -> DictConfig:
    try:
        return compose(name, overrides=list(overrides), return_hydra_config=hydra)
    except (HydraException, OmegaConfBaseException) as error:
        problem = _absent_section(str(error)) or LidrError(
            _first_cause(error),
            where=short(" ".join(overrides), _SHOWN) or f"conf/{name}.yaml",
            instead="mend the key or the file that is named",
        )
        raise ConfigError([problem]) from error
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = mark.name if mark is not None else short(" ".join(overrides), _SHOWN) or f"conf/{name}.yaml"
        problem = LidrError(
            f"not a readable configuration ({yaml_fault(error)})",
            where=where,
            instead="mend the file it names",
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
    return short(" ".join(str(error).split("\n")[0].split()), _SHOWN)


def to_run(config: DictConfig) -> RunConfig:
    """Applies the schema to what Hydra composed: the one door between YAML and the code.

    Raises:
        ConfigError: every value that is missing, unknown, of a wrong type or against a rule.
    """
    run = from_mapping(_values_of(config))
    _refuse_secrets(run, endpoints(run).values())
    return run


def _refuse_secrets(config: RunConfig | JudgingConfig, servers: Iterable[EndpointConfig]) -> None:
    variables = [endpoint.key_variable for endpoint in servers]
    if problems := list(secrets_in(dict(flatten(to_mapping(config))), variables)):
        raise ConfigError(problems)


def _values_of(config: DictConfig) -> dict[str, Any]:
    """Plain values, with every reference resolved.

    Raises:
        ConfigError: every value that is missing.
    """
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise ConfigError(
                LidrError("has no value", where=k, instead=f"type {k}=<value>") for k in missing
            )
        values = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        where = short(getattr(error, "full_key", None) or "configuration")
        problem = LidrError(_first_cause(error), where=where, instead="mend what stands in ${...} there")
        raise ConfigError([problem]) from error
    assert isinstance(values, dict)
    return {str(k): v for k, v in values.items()}
