"""What tells runs apart, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lidr.config.identity import differences, identity, identity_values
from lidr.config.schema import RunConfig

_LONGEST = 48


def run_labels(configs: Sequence[RunConfig]) -> list[str]:
    """The values that differ from the first run's, or the name alone; unique in any case."""
    values = [identity_values(config) for config in configs]
    keys = sorted({key for other in values[1:] for key in differences(values[0], other)})
    labels = [", ".join(f"{short_key(k)}={plain(v.get(k))}" for k in keys) for v in values]
    if len(configs) == 1 or any(len(label) > _LONGEST for label in labels):
        labels = [f"{c.name} s{c.seed}" if len(configs) > 1 else c.name for c in configs]
    if len(set(labels)) == len(labels):
        return labels
    return [f"{label} {identity(config)}" for label, config in zip(labels, configs, strict=True)]


def short_key(key: str) -> str:
    """The last part of a dotted key."""
    return key.rpartition(".")[2]


def plain(value: Any) -> str:
    """A configuration value as a person would type it."""
    if isinstance(value, list):
        return "+".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
