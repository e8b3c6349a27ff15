"""From plain values to a `RunConfig`, with every fault found at once, and back."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from lidr.config import rules
from lidr.config.benchmark_schema import BenchmarkKind
from lidr.config.schema import RunConfig
from lidr.errors import ConfigError, LidrError, did_you_mean
from lidr.printable import short

_PUT_BACK = "delete it and type the lidr run of this run again, which writes it anew; or name another folder"

_Root = TypeVar("_Root")


def from_mapping(values: Mapping[str, Any]) -> RunConfig:
    """Validates plain values against the schema and the rules between them.

    Raises:
        ConfigError: with every problem found, each naming its config path.
    """
    return validated(values, RunConfig, rules.violations)


def validated(
    values: Mapping[str, Any], root: type[_Root], violations: Callable[[_Root], Iterable[LidrError]]
) -> _Root:
    """Validates plain values against a schema and the rules between them.

    Raises:
        ConfigError: with every problem found, each naming its config path.
    """
    try:
        config: _Root = _adapter(root).validate_json(_json(values), strict=True, extra="forbid")
    except ValidationError as error:
        raise ConfigError(_explain(dict(e), root) for e in error.errors()) from None
    problems = list(violations(config))
    if problems:
        raise ConfigError(problems)
    return config


def _json(values: Mapping[str, Any]) -> str:
    """The values as JSON, which is what a configuration is made of."""
    try:
        text = json.dumps(values, ensure_ascii=False)
        text.encode("utf-8")
    except RecursionError:
        raise ConfigError([LidrError("is nested too deeply", where="configuration")]) from None
    except (TypeError, ValueError) as error:
        reason = "half a surrogate pair" if isinstance(error, UnicodeEncodeError) else short(error)
        raise ConfigError(
            [
                LidrError(
                    f"holds what is neither text nor number ({reason})",
                    where="configuration",
                    instead="put dates and the like in quotes, and type UTF-8",
                )
            ]
        ) from None
    return text


def to_mapping(config: Any) -> dict[str, Any]:
    """Plain values (dicts, lists, strings, numbers) of a configuration, or of a section of one."""
    values: dict[str, Any] = _adapter(type(config)).dump_python(config, mode="json")
    return values


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration as YAML, as it lies in a run directory."""
    return str(yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True))


def read_config(path: Path) -> RunConfig:
    """Reads a configuration made by `to_yaml`.

    Raises:
        LidrError: the file is missing or no YAML mapping.
        ConfigError: its values do not fit the schema.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise LidrError(
            f"not a readable configuration ({yaml_fault(error)})", where=str(path), instead=_PUT_BACK
        ) from error
    if not isinstance(values, dict):
        raise LidrError("not a mapping of keys to values", where=str(path), instead=_PUT_BACK)
    try:
        return from_mapping(values)
    except ConfigError as error:
        raise ConfigError(
            LidrError(p.what, where=f"{path}: {p.where}", instead=p.instead) for p in error.problems
        ) from error


def yaml_fault(error: BaseException) -> str:
    """What is wrong with a YAML file, in a line, with its place where there is one."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {short(error.problem or 'no YAML')}"
    if isinstance(error, OSError):
        return str(error.strerror)
    first = str(error).strip().splitlines()
    return short(f"{type(error).__name__}: {first[0]}" if first else type(error).__name__)


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(root: Any) -> TypeAdapter[Any]:
    if root not in _ADAPTERS:
        _ADAPTERS[root] = TypeAdapter(root)
    return _ADAPTERS[root]


_KEYS: dict[Any, frozenset[str]] = {}


def schema_keys(root: type[Any] = RunConfig) -> frozenset[str]:
    """Every dotted key a schema knows; ``*`` stands for a free name, as in ``evaluation.*.kind``."""
    if root not in _KEYS:
        _KEYS[root] = frozenset(_walk(root, ""))
    return _KEYS[root]


def knows(key: str, root: type[Any] = RunConfig) -> bool:
    """Whether a dotted key, a section included, is in the schema."""
    parts = key.split(".")
    return any(_matches(parts, known.split(".")) for known in schema_keys(root))


def suggest(key: str, root: type[Any] = RunConfig) -> str:
    """What to type instead of an unknown dotted key."""
    concrete = sorted(k for k in schema_keys(root) if "*" not in k)
    head, _, last = key.rpartition(".")
    siblings = [
        k.rpartition(".")[2] for k in schema_keys(root) if _matches(head.split("."), k.split(".")[:-1])
    ]
    if siblings and head:
        return did_you_mean(last, siblings)
    same_leaf = [k for k in concrete if k.rpartition(".")[2] == last]
    return f"did you mean {same_leaf[0]!r}?" if same_leaf else did_you_mean(key, concrete)


def _matches(parts: list[str], known: list[str]) -> bool:
    return len(parts) == len(known) and all(k in ("*", p) for p, k in zip(parts, known, strict=True))


def _walk(hint: Any, prefix: str) -> Iterator[str]:
    """Dotted keys below a type: sections and leaves."""
    for name, child in get_type_hints(hint).items():
        path = f"{prefix}.{name}" if prefix else name
        yield path
        if get_origin(child) is dict:
            yield f"{path}.*"
            child, path = get_args(child)[1], f"{path}.*"
        for section in _sections(child):
            yield from _walk(section, path)


def _sections(hint: Any) -> list[Any]:
    """The sections of keys that a value of a type may be: one, several by their kind, or none."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else [hint]
    return [part for part in parts if dataclasses.is_dataclass(part)]


def _explain(error: dict[str, Any], root: type[Any]) -> LidrError:
    steps = list(_steps(error["loc"], root))
    path = ".".join(short(part) for part, _ in steps)
    hint, kind, value = steps[-1][1] if steps else root, str(error["type"]), error["input"]
    if kind == "unexpected_keyword_argument":
        instead = "remove it, only another kind has it" if knows(path, root) else suggest(path, root)
        return LidrError("unknown key", where=path, instead=instead)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        path, hint, value = f"{path}.kind", BenchmarkKind, value.get("kind")
        kind = "missing" if value is None else "enum"
    if kind in ("missing", "missing_argument"):
        return LidrError("has no value", where=path, instead=f"type {path}=<value>")
    if kind == "json_invalid":
        return LidrError(short(error["msg"]), where="configuration")
    shown = short(json.dumps(value, ensure_ascii=False, default=str))
    if kind == "enum":
        return LidrError(f"{shown} is not a choice", where=path, instead=_enum_choices(hint, value))
    return LidrError(f"{shown} has the wrong type", where=path, instead=f"it must be {_type_name(hint)}")


def _enum_choices(hint: Any, value: Any) -> str:
    choices = [str(m.value) for m in hint] if isinstance(hint, type) and issubclass(hint, Enum) else []
    return did_you_mean(str(value), choices)


def _steps(loc: tuple[str | int, ...], root: type[Any]) -> Iterator[tuple[str | int, Any]]:
    """The keys of a place with their types; where a kind chooses the section, pydantic names it too: no key."""
    hint: Any = root
    for part in loc:
        sections = _sections(hint)
        if len(sections) > 1:
            hint = next(s for s in sections if part in get_args(get_type_hints(s)["kind"]))
            continue
        hint = sections[0] if sections else hint
        if get_origin(hint) is dict:
            hint = get_args(hint)[1]
        elif get_origin(hint) is tuple:
            args = get_args(hint)
            hint = args[0] if args[-1] is Ellipsis else args[int(part)]
        elif dataclasses.is_dataclass(hint):
            hint = get_type_hints(hint).get(str(part))
        yield part, hint


def _type_name(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join("null" if a is type(None) else _plain(a) for a in get_args(hint))
    return _plain(hint)


def _plain(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return "a list, as in [a,b]"
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return names.get(hint, "a section of keys")
