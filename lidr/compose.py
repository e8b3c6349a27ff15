"""Hydra composition with every mistake found first, in words that say what to type instead."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lidr.compose_checks import SHOWN, absent, check_overrides, first_cause, parsed_overrides
from lidr.compose_safety import refuse_foreign_code
from lidr.config import EndpointConfig, RunConfig, from_mapping, judge_rules, to_mapping
from lidr.config.identity import flatten
from lidr.config.judge_schema import JudgingConfig
from lidr.config.load import validated, yaml_fault
from lidr.config.names import endpoints, secrets_in
from lidr.errors import ConfigError, LidrError
from lidr.printable import short

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
    with hydra_on_project() as loader:
        parsed = parsed_overrides(overrides)
        check_overrides(parsed, loader)
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
        check_overrides(parsed, loader, JudgingConfig)
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
    """Every job of a grid, in the order Hydra's basic sweeper starts them: its overrides and configuration.

    Raises:
        ConfigError: a mistake in any of the jobs, or a sweeper that makes no grid; nothing was started.
    """
    with hydra_on_project() as loader:
        swept, sweeper = _swept(overrides, loader)
        if sweeper != _GRID:
            raise ConfigError(
                [
                    LidrError(
                        "a search has no list of jobs",
                        where="hydra/sweeper",
                        instead="type `lidr run` for it",
                    )
                ]
            )
        _refuse_intervals(swept)
        jobs = [list(job) for job in itertools.product(*map(_choices, swept))]
        return [(job, to_run(composed(job))) for job in jobs]


def compose_search(overrides: Sequence[str]) -> list[RunConfig] | None:
    """Configurations a search may propose: the first value of every key, and each other one or end of one alone.

    Returns:
        None where the overrides make a grid.

    Raises:
        ConfigError: a mistake in any of them; nothing was started.
    """
    with hydra_on_project() as loader:
        swept, sweeper = _swept(overrides, loader)
        if sweeper == _GRID:
            return None
        first = [_choices(o)[0] for o in swept]
        jobs = [
            [*first[:i], other, *first[i + 1 :]] for i, o in enumerate(swept) for other in _choices(o)[1:]
        ]
        return [to_run(composed(job)) for job in [first, *jobs]]


_GRID = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def _swept(overrides: Sequence[str], loader: ConfigLoaderImpl) -> tuple[list[Override], str]:
    """All overrides, those of the sweep's file too, and the class of the sweeper."""
    parsed = parsed_overrides(overrides)
    check_overrides(parsed, loader)
    fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
    base = composed([*fixed, *_first_choices(parsed)], hydra=True)
    refuse_foreign_code(base.hydra)
    params = OmegaConf.to_container(base.hydra.sweeper.get("params") or OmegaConf.create({}))
    typed = {o.get_key_element() for o in parsed}
    swept = parsed_overrides([f"{k}={v}" for k, v in dict(params or {}).items() if k not in typed])  # type: ignore[arg-type]
    check_overrides(swept, loader)
    return [*swept, *parsed], str(base.hydra.sweeper._target_)


def _refuse_intervals(swept: Sequence[Override]) -> None:
    problems = [
        LidrError(
            "an interval has no list of values",
            where=short(override.input_line or "", SHOWN),
            instead="type the values with commas, or add hydra/sweeper=optuna",
        )
        for override in swept
        if override.is_sweep_override() and not override.is_discrete_sweep()
    ]
    if problems:
        raise ConfigError(problems)


def check_hydra(overrides: Sequence[str]) -> None:
    """Composes what Hydra's own commands would show, and holds its section to what it may name.

    Raises:
        ConfigError: there is a mistake in it, or it names code to run.
    """
    with hydra_on_project() as loader:
        parsed = parsed_overrides(overrides)
        check_overrides(parsed, loader)
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


def _choices(override: Override) -> list[str]:
    """One override text for every value of a swept override, or for both ends of an interval.

    An override that is not swept is its own.
    """
    if not override.is_sweep_override():
        return [override.input_line or ""]
    key = override.get_key_element()
    if not override.is_discrete_sweep():
        interval: Any = override.value()
        return [f"{key}={end}" for end in (interval.start, interval.end)]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _first_choices(overrides: Sequence[Override]) -> list[str]:
    return [_choices(o)[0] for o in overrides if o.is_sweep_override()]


def composed(overrides: Sequence[str], hydra: bool = False, name: str = "config") -> DictConfig:
    try:
        return compose(name, overrides=list(overrides), return_hydra_config=hydra)
    except (HydraException, OmegaConfBaseException) as error:
        problem = absent(str(error)) or LidrError(
            first_cause(error),
            where=short(" ".join(overrides), SHOWN) or f"conf/{name}.yaml",
            instead="mend the key or the file that is named",
        )
        raise ConfigError([problem]) from error
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = mark.name if mark is not None else short(" ".join(overrides), SHOWN) or f"conf/{name}.yaml"
        problem = LidrError(
            f"not a readable configuration ({yaml_fault(error)})",
            where=where,
            instead="mend the file it names",
        )
        raise ConfigError([problem]) from error


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
        problem = LidrError(first_cause(error), where=where, instead="mend what stands in ${...} there")
        raise ConfigError([problem]) from error
    assert isinstance(values, dict)
    return {str(k): v for k, v in values.items()}
