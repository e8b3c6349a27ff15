"""From a file's objects to prompts with an id, by the keys the configuration names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lidr import jsonl, languages
from lidr.config import PromptFormat, PromptsConfig
from lidr.errors import LidrError, did_you_mean
from lidr.printable import short
from lidr.prompts.files import Row, read_json_array, read_jsonl
from lidr.prompts.locate import locate

_NAMED = 12  # keys of a row, in an error


class Item(NamedTuple):
    """A prompt of one language; `text` is empty where the file gives none, `where` is file:line.

    follow_ups: the user's later turns, where the file gives a list of turns.
    """

    id: str
    text: str
    answer: str | None
    where: str
    follow_ups: tuple[str, ...] = ()


def items(config: PromptsConfig, language: str) -> Iterator[Item]:
    """All prompts of a language in the order of its files.

    Raises:
        LidrError: a file is missing or broken, or a row lacks a key; names the line and what to type instead.
    """
    paths = locate(config, language)
    read = read_json_array if config.format is PromptFormat.JSON_ARRAY else read_jsonl
    for place, path in enumerate(paths):
        for position, row in enumerate(read(path)):
            # A blank line keeps its place, so that it cannot shift the rest against other languages.
            line_place = row.line - 1 if config.format is PromptFormat.JSONL else position
            positional = str(line_place) if len(paths) == 1 else f"{place}-{line_place}"
            yield _item(row, path, positional, config, language)


def _item(row: Row, path: Path, positional: str, config: PromptsConfig, language: str) -> Item:
    where = f"{path}:{row.line}"
    identity = positional if config.id_key is None else _id(row.values, config, where)
    if config.strip_language_prefix and config.id_key is not None:
        identity = identity.removeprefix(language)
    text, *follow_ups = _turns(row.values, config, where)
    return Item(
        identity,
        wrap(text, config.instruction, language) if text.strip() else "",
        _answer(row, config, where),
        where,
        tuple(follow_ups),
    )


def wrap(text: str, instruction: str | None, language: str) -> str:
    """The prompt inside its instruction; the result is what the model is asked and trained on."""
    if instruction is None:
        return text
    before, after = frame(instruction, language)
    return f"{before}{text}{after}"


def frame(instruction: str, language: str) -> tuple[str, str]:
    """What an instruction puts before and after a prompt of a language."""
    before, _, after = instruction.replace("{language_name}", languages.name(language)).partition("{prompt}")
    return before, after


def _id(values: Mapping[str, Any], config: PromptsConfig, where: str) -> str:
    value = _value(
        values, config.id_key or "", "prompts.id_key", where, "prompts.id_key=null for the line's position"
    )
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise LidrError(
            f"the id under {config.id_key!r} is {_shown(value)}, not a text or a whole number",
            where=where,
            instead="give it an id, or type prompts.id_key=null to take the line's position",
        )
    return _encodable(str(value), where)


def _turns(values: Mapping[str, Any], config: PromptsConfig, where: str) -> list[str]:
    """A prompt's text, or the turns of a conversation where the file gives a list of texts."""
    value = _value(values, config.prompt_key, "prompts.prompt_key", where, None)
    if not isinstance(value, list):
        return [_text(value, config, where)]
    turns = [_text(turn, config, where) for turn in value]
    if not turns or not all(turn.strip() for turn in turns):
        raise LidrError(
            f"the turns under {config.prompt_key!r} are {'none' if not turns else 'not all there'}",
            where=where,
            instead='write a list of texts: ["...", "..."]',
        )
    return turns


def _text(value: object, config: PromptsConfig, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise LidrError(
            f"the prompt under {config.prompt_key!r} is {_kind(value)}, not a text",
            where=where,
            instead="name the key of the prompt's text: prompts.prompt_key=<key>",
        )
    return _encodable(value, where)


def _answer(row: Row, config: PromptsConfig, where: str) -> str | None:
    if config.answer_key is None:
        return None
    value = _value(
        row.values, config.answer_key, "prompts.answer_key", where, "prompts.answer_key=null for none"
    )
    if value is None:
        return None
    if isinstance(value, str):
        return _encodable(value, where)
    if not jsonl.is_number(value):
        raise LidrError(
            f"the answer under {config.answer_key!r} is {_shown(value)}, no text or finite number",
            where=where,
            instead="name the key of the answer: prompts.answer_key=<key>",
        )
    return str(value)


def _value(values: Mapping[str, Any], key: str, config_key: str, where: str, else_: str | None) -> Any:
    if key in values:
        return values[key]
    names = "|".join(map(short, sorted(values)[:_NAMED]))
    hint = f"{did_you_mean(key, values)} ({config_key}={names or '<key>'})"
    raise LidrError(f"has no key {key!r}", where=where, instead=f"{hint}; or {else_}" if else_ else hint)


def _shown(value: Any) -> str:
    """A value that is of the wrong type, as JSON and not long."""
    return (
        short(json.dumps(value, ensure_ascii=False)) if not isinstance(value, dict | list) else _kind(value)
    )


def _kind(value: Any) -> str:
    return f"a JSON {type(value).__name__}"


def _encodable(text: str, where: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise LidrError(
            "holds half a surrogate pair, which is no text", where=where, instead="mend the escape \\ud..."
        ) from None
    return text
