"""Names that become parts of paths, and secrets that must become parts of nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lidr.config.engine_schema import EndpointConfig
from lidr.config.schema import RunConfig
from lidr.errors import LidrError
from lidr.printable import short

_NAME = re.compile(r"(?!\.)[\w.+ -]{1,100}")
_TAKEN = frozenset({"pairs", "scores.json", "shards", "stage.json"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,100}")
_SECRETS = ("OPENAI_API_KEY", "WANDB_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_SECRET_LENGTH = 8  # shorter ones are words that stand for none


def violations(config: RunConfig) -> Iterator[LidrError]:
    """Names that would leave their folder, and variables that are none."""
    for name in sorted(_TAKEN.intersection(config.evaluation)):
        yield LidrError(
            "is the name of something else in a run's folder",
            where=f"evaluation.{name}",
            instead="give the benchmark another name",
        )
    names = {"name": config.name, "model.name": config.model.name}
    names |= {f"evaluation.{short(name)}": name for name in config.evaluation}
    for where, name in names.items():
        if not _NAME.fullmatch(name) or name != name.strip():
            yield LidrError(
                f"{short(name)!r} cannot name a folder",
                where=where,
                instead="type letters, digits, and . _ + - (not first a dot, 100 at most)",
            )
    yield from _score(config)
    models = {"model.path": config.model, "translator.model.path": config.translator.model}
    for where, model in models.items():
        if model is not None and (not model.path.strip() or "\0" in model.path):
            yield LidrError("names no model", where=where, instead=f"type {where}=<model folder or hub id>")
    for where, endpoint in endpoints(config).items():
        yield from key_variable(endpoint, where)


def _score(config: RunConfig) -> Iterator[LidrError]:
    """A score to search by that no run could have."""
    if config.score is None:
        return
    languages = [*config.languages.all, "mean-non-dominant", "mean-unseen"]
    match config.score.split("/"):
        case ["eval", benchmark, language, metric]:
            fits = benchmark in config.evaluation and language in languages and metric != ""
        case ["gap", benchmark, metric]:
            fits = benchmark in config.evaluation and metric != ""
        case _:
            fits = False
    if not fits:
        first = next(iter(config.evaluation), "<benchmark>")
        yield LidrError(
            f"{short(config.score)!r} is no score of this run",
            where="score",
            instead=f"type a key such as score=eval/{first}/mean-non-dominant/accuracy, or gap/{first}/accuracy",
        )


def key_variable(endpoint: EndpointConfig, where: str) -> Iterator[LidrError]:
    """A variable's name that is none, such as a key in its place."""
    if not _VARIABLE.fullmatch(endpoint.key_variable):
        yield LidrError(
            "is no name of an environment variable (and a key must not stand here: it would be written down)",
            where=f"{where}.key_variable",
            instead=f"export <NAME>=<key> and type {where}.key_variable=<NAME>",
        )


def endpoints(config: RunConfig) -> dict[str, EndpointConfig]:
    """The servers of a run, by their section."""
    engines = {"engine": config.engine, "translator.engine": config.translator.engine}
    return {
        f"{k}.endpoint": e.endpoint for k, e in engines.items() if e is not None and e.endpoint is not None
    }


def secrets_in(values: Mapping[str, Any], variables: Iterable[str]) -> Iterator[LidrError]:
    """Values that hold a key of the environment, as `${oc.env:...}` would put it there.

    Args:
        values: the configuration by dotted key; leaves are plain values.
        variables: those that hold keys of servers.
    """
    for variable in sorted({*variables, *_SECRETS}):
        secret = os.environ.get(variable, "").strip()
        if len(secret) < _SECRET_LENGTH:
            continue
        for key, value in values.items():
            if secret in str(value) or secret in key:
                yield LidrError(
                    f"holds the secret of the environment variable {variable}, and is written into the run's files",
                    where=key.replace(secret, "***"),
                    instead="take it out; keys are read from the environment where they are used",
                )
