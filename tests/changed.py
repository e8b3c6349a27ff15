"""Configurations that differ in a few values from one that was composed before: composing anew takes a while."""

from __future__ import annotations

from functools import cache

from lidr.compose import compose_run
from lidr.config import RunConfig, from_mapping, to_mapping


@cache
def base(*overrides: str) -> RunConfig:
    """A composed configuration, composed once in a process."""
    return compose_run(overrides)


def changed(config: RunConfig, **values: object) -> RunConfig:
    """With other values; a key's dots are written ``__``, as in ``objective__beta=0.5``."""
    mapping = to_mapping(config)
    for key, value in values.items():
        *sections, name = key.split("__")
        place = mapping
        for section in sections:
            place = place[section]
        place[name] = value
    return from_mapping(mapping)
