"""Configurations that differ in a few values from one that was composed before: composing anew takes a while."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from lidr.compose import compose_run
from lidr.config import RunConfig, from_mapping, to_mapping


@cache
def base(*overrides: str) -> RunConfig:
    """A composed configuration, composed once in a process."""
    return compose_run(overrides)


def changed(config: RunConfig, **values: object) -> RunConfig:
    """With other values; a key's dots are written ``__``, as in ``objective__beta=0.5``."""
    return placed(to_mapping(config), {key.replace("__", "."): value for key, value in values.items()})


def placed(mapping: dict[str, Any], values: Mapping[str, object]) -> RunConfig:
    """The configuration of a mapping, which gets other values by dotted key first."""
    for key, value in values.items():
        *sections, name = key.split(".")
        place = mapping
        for section in sections:
            place = place[section]
        place[name] = value
    return from_mapping(mapping)
