"""Which run a configuration names: the hash of its resolved values minus runtime-only keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from lidr.config.load import to_mapping
from lidr.config.schema import SCHEMA_VERSION, RunConfig

# They say where and how a run is computed, not what: another value of theirs is the same run.
RUNTIME_KEYS = frozenset(
    {
        "paths",
        "tracking",
        "processes",
        "score",
        "prompts.root",
        "trainer.accelerator",
        "trainer.threads",
        "trainer.strategy",
        "trainer.devices",
        "trainer.nodes",
        "training.token_budget",
        "training.layout",
        "training.logits",
        "training.checkpointing",
        "training.compile",
    }
)
# Keys that came later than runs did: null is what those runs did, so that they keep their names.
_LATER = frozenset({"pairs.control", "pairs.rival", "pairs.limit"})
_RUNTIME_SUFFIXES = (".prompts.root",)
_RUNTIME_BENCHMARK = ("batch_size", "include_path")
# Of the run's engine and of the translator's: how much at once, by how many, and what it may cost.
_RUNTIME_ENGINE = ("batch_size", "token_budget", "prompt_lookup", "processes", "vllm", "endpoint")
_DEFINES_AN_ANSWER = ("endpoint.model", "endpoint.api")


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and leaf of a nested mapping; lists are leaves."""
    for key, value in values.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            yield from flatten(value, path)
        else:
            yield path, value


def is_runtime(key: str) -> bool:
    """Whether a dotted key is left out of the identity."""
    parts = key.split(".")
    prefixes = {".".join(parts[: i + 1]) for i in range(len(parts))}
    of_benchmark = parts[0] == "evaluation" and parts[2:3] != [] and parts[2] in _RUNTIME_BENCHMARK
    named = bool(prefixes & RUNTIME_KEYS) or key.endswith(_RUNTIME_SUFFIXES)
    return named or of_benchmark or _is_engine_runtime(key)


def _is_engine_runtime(key: str) -> bool:
    own = key.removeprefix("translator.")
    section, _, name = own.partition(".")
    if section != "engine" or name.startswith(_DEFINES_AN_ANSWER):
        return False
    return name.split(".")[0] in _RUNTIME_ENGINE


def identity_values(config: RunConfig) -> dict[str, Any]:
    """The values that define a run, by dotted key, sorted."""
    found = sorted((k, v) for k, v in flatten(to_mapping(config)) if not is_runtime(k))
    return {k: v for k, v in found if v is not None or k not in _LATER}


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def identity(config: RunConfig) -> str:
    """Eight hexadecimal digits that name the run; the same before it starts and from its own config.yaml."""
    return digest({"schema": SCHEMA_VERSION, **identity_values(config)})[:8]


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ between two flat mappings, with both values; an absent key reads as None."""
    keys = sorted(set(ours) | set(theirs))
    return {k: (ours.get(k), theirs.get(k)) for k in keys if ours.get(k) != theirs.get(k)}
