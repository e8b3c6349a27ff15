"""Prompt sets that are not what they should be, read by `lidr check`."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path

from lidr import prompts
from lidr.compose import compose_run
from lidr.config import OnIncomplete, PromptFormat, RunConfig
from lidr.preflight import preflight
from tests.torture.case import Case, Given

BASE = (
    "prompts=jsonl", "languages.non_dominant=[es]", "languages.unseen=[]", "evaluation=[]", "tracking=none",
    "prompt_schedule=reuse", "prompts.limit=1000",
)  # fmt: skip
Content = bytes | Callable[[Path], object]
DEEP = 100_000
DROP = {"on_incomplete": OnIncomplete.DROP}
ARRAY = {"format": PromptFormat.JSON_ARRAY}
ANSWERS = {"answer_key": "answer"}


def rows(*extra: str, ids: str = "abc") -> bytes:
    """Lines with ids a, b, c, and further ones as they are."""
    lines = [f'{{"id": "{i}", "prompt": "text {i}"}}' for i in ids]
    return "".join(f"{line}\n" for line in [*lines, *extra]).encode()


GOOD = rows()
SOURCE = b'[{"id": "a", "prompt": "text a"}, {"id": "b", "prompt": "text b"}]'


def line(**values: object) -> str:
    return json.dumps({"id": "d", "prompt": "text d"} | values)


@cache
def base() -> RunConfig:
    """What every case begins with."""
    return compose_run([*BASE, "prompts.root=."])


def made(
    name: str,
    english: Content = GOOD,
    spanish: Content = GOOD,
    *,
    says: str | None = None,
    counts: tuple[int, int] | None = None,
    changes: Mapping[str, object] | None = None,
    words: tuple[str, ...] = (),
) -> Case:
    """A set of two files.

    counts: prompts that every language has, and prompts that are left out, of a set that works.
    changes: of the prompts' configuration.
    words: typed too.
    """

    def prepare(folder: Path, _: ExitStack) -> Given:
        for code, content in (("en", english), ("es", spanish)):
            path = folder / f"{code}.jsonl"
            path.write_bytes(content) if isinstance(content, bytes) else content(path)
        root = {"root": str(folder)} | dict(changes or {})
        overrides = [f"prompts.{key}={_typed(value)}" for key, value in root.items()]
        config = replace(base(), prompts=replace(base().prompts, **root))

        def call() -> None:
            preflight(config)
            report = prompts.load(config.prompts, ("en", "es")).report
            assert (report.aligned, report.dropped) == counts, report

        return Given(["check", *BASE, *overrides, *words], call)

    shows = rf"iteration-1/responses +{2 * counts[0]} " if counts else ""
    return Case(f"prompts: {name}", prepare, says, shows)


def _typed(value: object) -> str:
    if isinstance(value, str) and value not in (OnIncomplete.DROP, PromptFormat.JSON_ARRAY):
        return f'"{value}"'
    if isinstance(value, tuple):
        return json.dumps(value)
    return "null" if value is None else str(value)


def _folder(path: Path) -> None:
    path.mkdir()


def _dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _nothing(path: Path) -> None:
    """No file."""


def _pipe(path: Path) -> None:
    os.mkfifo(path)


ESCAPE = "\\u001b[31mred\\u001b]0;title\\u0007"
BIDI = "\\u202egnp\\u202c"


def at(number: int, says: str) -> str:
    """What is said of a line of the English file."""
    return rf"en\.jsonl:{number}: {says}"


# A fourth row in both languages, and all four stand.
_TAKEN = {
    "an escaped surrogate pair": line(prompt="\U0001f600"),
    "an escaped NUL in a prompt": line(prompt="a\0b"),
    "a line of a megabyte": line(prompt="word " * 200_000),
    "a key of a megabyte": line(**{"k" * 1_000_000: 1}),
    "an id of 4,000 digits": line(id=int("9" * 4000)),
    "an id that climbs": line(id="../../x"),
    "an id of another script": line(id="пример\u200b"),
    "right-to-left text and zero-width signs": line(prompt="\u202e\u05de\u05d4\u05d5\u200b\u200d"),
    "nesting of 400": f'{{"id": "d", "prompt": "x", "k": {"[" * 400}{"]" * 400}}}',
    "NaN where nobody looks": '{"id": "d", "prompt": "x", "score": NaN}',
    "a key twice in an object": '{"id": "z", "id": "d", "prompt": "x"}',
}

# A fourth row in English, and what is said of it.
_REFUSED = {
    "half a surrogate pair": ('{"id": "d", "prompt": "\\ud83d"}', "holds half a surrogate pair"),
    "half a surrogate pair in an id": ('{"id": "\\udc00", "prompt": "x"}', "holds half a surrogate pair"),
    "half a surrogate pair in a key": ('{"\\udc00": 1, "id": "d"}', "has no key 'prompt'"),
    "a Python dictionary": ("{'id': 'd', 'prompt': 'x'}", "is not JSON"),
    "a trailing comma": ('{"id": "d", "prompt": "x",}', "is not JSON"),
    "two objects on a line": (line() + line(id="e"), r"is not JSON \(Extra data"),
    "a NUL byte in a text": ('{"id": "d", "prompt": "a\0b"}', "is not JSON"),
    "a tab in a text": ('{"id": "d", "prompt": "a\tb"}', "is not JSON"),
    "endless nesting in a value": (
        '{"id": "d", "k": ' + '{"k": ' * DEEP,
        r"is not JSON \(brackets are nested",
    ),
    "a number of 5,000 digits": (f'{{"id": "d", "k": {"1" * 5000}}}', r"is not JSON \(a number has too many"),
    "a list as a row": ("[1, 2]", "is a JSON list, not an object"),
    "a text as a row": ('"text"', "is a JSON str, not an object"),
    "null as a row": ("null", "is a JSON NoneType, not an object"),
    "no id": ('{"prompt": "x"}', "has no key 'id'"),
    "a null id": (line(id=None), "the id under 'id' is null"),
    "a list as an id": (line(id=[1] * 100_000), "the id under 'id' is a JSON list"),
    "a truth value as an id": (line(id=True), "the id under 'id' is true"),
    "a fraction as an id": (line(id=1.5), r"the id under 'id' is 1\.5"),
    "NaN as an id": ('{"id": NaN, "prompt": "x"}', "the id under 'id' is NaN"),
    "an empty id": (line(id=""), "the id under 'id' is \"\""),
    "no prompt": ('{"id": "d"}', "has no key 'prompt'"),
    "a thousand keys, none the prompt": (
        json.dumps({f"k{i}": 1 for i in range(1000)} | {"id": "d"}),
        "has no key",
    ),
    "keys of a megabyte, none the prompt": (
        json.dumps({"k" * 1_000_000: 1, "id": "d"}),
        "has no key 'prompt'",
    ),
    "keys that act on a terminal": (f'{{"id": "d", "{ESCAPE}": 1}}', "has no key 'prompt'"),
    "a number as a prompt": (line(prompt=5), "the prompt under 'prompt' is a JSON int"),
    "a list of numbers as a prompt": (line(prompt=[5]), "the prompt under 'prompt' is a JSON int"),
    "no turns as a prompt": (line(prompt=[]), "the turns under 'prompt' are none"),
    "an object as a prompt": (line(prompt={"text": "x"}), "the prompt under 'prompt' is a JSON dict"),
    "Infinity as a prompt": ('{"id": "d", "prompt": Infinity}', "the prompt under 'prompt' is a JSON float"),
}

# A whole English file, and what is said of it.
_FILES = {
    "UTF-16 with its mark": (GOOD.decode().encode("utf-16"), at(1, "is not UTF-8 but looks like UTF-16")),
    "UTF-16 without a mark": (GOOD.decode().encode("utf-16-le"), at(1, r"is not JSON \(NUL bytes at column")),
    "UTF-32 without a mark": (GOOD.decode().encode("utf-32-le"), at(1, r"is not JSON \(NUL bytes at column")),
    "Latin-1": (
        GOOD + b'{"id": "d", "prompt": "caf\xe9"}\n',
        at(4, "is not UTF-8 -> save the file as UTF-8"),
    ),
    "a surrogate in UTF-8": (GOOD + b'{"id": "d", "prompt": "\xed\xa0\x80"}\n', at(4, "is not UTF-8")),
    "a gzip file": (gzip.compress(GOOD, mtime=0), at(1, "is not UTF-8")),
    "a byte order mark in the middle": (GOOD + b"\xef\xbb\xbf" + GOOD, at(4, "is not JSON")),
    "broken JSON in the middle": (rows(ids="a") + b'{"id": "b", \n' + rows(ids="c"), at(2, "is not JSON")),
    "a comment": (b"// prompts\n" + GOOD, at(1, "is not JSON")),
    "an object over many lines": (b'{\n "id": "a",\n "prompt": "x"\n}\n', at(1, "is not JSON")),
    "a table of commas": (b"id,prompt\na,text\n", at(1, "is not JSON")),
    "carriage returns alone": (GOOD.replace(b"\n", b"\r"), at(1, r"is not JSON \(.*carriage returns alone")),
    "NUL bytes at the end": (GOOD + b"\0" * 4096, at(4, r"is not JSON \(NUL bytes at column 1")),
    "endless nesting": (b"[" * DEEP, at(1, "")),
    "an array, read as lines": (SOURCE, at(1, ".*-> type prompts.format=json_array")),
    "an empty file": (b"", "3 of 3 prompts do not stand once"),
    "a file of blank lines": (b"\n" * 9, "3 of 3 prompts do not stand once"),
    "duplicate ids": (rows(line(id="a")), r"1 duplicated \(a at .*en\.jsonl:1 and .*en\.jsonl:4\)"),
    "an id that one language lacks": (rows(ids="ab"), r"1 missing \(c is at .*es\.jsonl:3\)"),
    "an id that acts on a terminal": (
        rows(*[f'{{"id": "{ESCAPE}", "prompt": "x"}}'] * 2),
        r"duplicated.*x1b\[31mred",
    ),
    "an id that turns the line": (rows(*[f'{{"id": "{BIDI}", "prompt": "x"}}'] * 2), r"duplicated.*u202egnp"),
    "an id with line ends": (rows(line(id="a\nb\nc\n" * 1000)), r"missing \(a\\nb\\n"),
    "a blank prompt": (rows(ids="ab") + b'{"id": "c", "prompt": " "}\n', r"1 empty \(c at .*en\.jsonl:3\)"),
    "no file": (_nothing, r"en\.jsonl: has no prompts in 'en' \(languages there: es\)"),
    "a folder for a file": (_folder, r"en\.jsonl: is a folder, not a file"),
    "a link to nothing": (_dangling, r"en\.jsonl: is a link to a file that is not there"),
    "a link to itself": (_loop, r"en\.jsonl: is a link to a file that is not there"),
    "a pipe that nobody writes to": (_pipe, r"en\.jsonl: has no prompts in 'en'"),
}

# A whole English file that is read as an array, and what is said of it.
_ARRAYS = {
    "lines, read as an array": (GOOD, at(1, "is not one JSON array of objects")),
    "an array that ends early": (SOURCE[:-1], at(1, "is not one JSON array of objects")),
    "an array with a trailing comma": (SOURCE[:-1] + b",]", at(1, "is not JSON")),
    "an array of numbers": (b"[1, 2]", at(1, "is a JSON int, not an object")),
    "two arrays": (SOURCE + b"\n" + SOURCE, at(2, "is not one JSON array")),
    "an array of nothing": (b"[]", "2 of 2 prompts do not stand once"),
    "an array in UTF-16": (SOURCE.decode().encode("utf-16"), at(1, "is not UTF-8 but looks like UTF-16")),
    "an array without end": (b"[" * DEEP, at(1, r"is not JSON \(brackets are nested too deeply")),
    "an object around the array": (b'{"data": ' + SOURCE + b"}", at(1, "is not one JSON array")),
    "no file where an array should be": (_nothing, "has no prompts in 'en'"),
}

# An answer in English, and what is said of it.
_ANSWERS = {
    "NaN as an answer": ("NaN", "the answer under 'answer' is NaN"),
    "an infinite answer": ("1e999", "the answer under 'answer' is Infinity"),
    "a truth value as an answer": ("true", "the answer under 'answer' is true"),
    "a list as an answer": ("[1]", "the answer under 'answer' is a JSON list"),
    "half a surrogate pair as an answer": ('"\\ud800"', "holds half a surrogate pair"),
}

# Another value of the prompts' configuration, and what is said of it.
_KEYS: dict[str, tuple[dict[str, object], str]] = {
    "a prompt key that is not there": (
        {"prompt_key": "promt"},
        "has no key 'promt' -> did you mean 'prompt'",
    ),
    "a root that is a file": ({"root": __file__}, r"prompts\.root: there is no folder"),
    "a root that is not there": ({"root": "/nowhere"}, r"prompts\.root: there is no folder"),
    "a home that is nobody's": ({"root": "~nobody-of-that-name/x"}, r"prompts\.root: there is no folder"),
    "an absolute pattern": (
        {"files": ("/nowhere/{language}.jsonl",)},
        "/nowhere/en.jsonl: has no prompts in 'en'",
    ),
    "a pattern with another field": ({"files": ("{lang}.jsonl",)}, "the one placeholder is"),
    "a pattern that is empty": ({"files": ("",)}, "is a folder, not a file"),
    "no pattern": ({"files": ()}, r"prompts\.files: is empty"),
}

CASES: list[Case] = [
    made("a good set", counts=(3, 0)),
    made("a byte order mark", b"\xef\xbb\xbf" + GOOD, counts=(3, 0)),
    made("carriage returns before line feeds", GOOD.replace(b"\n", b"\r\n"), counts=(3, 0)),
    made("mixed line ends", GOOD.replace(b"\n", b"\r\n", 1), counts=(3, 0)),
    made("no line end at the end", GOOD[:-1], counts=(3, 0)),
    made("blank lines", b"\n\n" + GOOD.replace(b"\n", b"\n \t\n"), counts=(3, 0)),
    made("ids in another order", rows(ids="cab"), counts=(3, 0)),
    made("numbers and texts as ids", rows(line(id=7)), rows(line(id="7")), counts=(4, 0)),
    made("duplicate ids, dropped", rows(line(id="a")), counts=(2, 1), changes=DROP),
    made("a missing id, dropped", rows(ids="ab"), counts=(2, 1), changes=DROP),
    made(
        "a blank prompt, dropped", rows('{"id": "c", "prompt": " "}', ids="ab"), counts=(2, 1), changes=DROP
    ),
    made(
        "a null prompt, dropped", rows('{"id": "c", "prompt": null}', ids="ab"), counts=(2, 1), changes=DROP
    ),
    made("an array with a byte order mark", b"\xef\xbb\xbf" + SOURCE, SOURCE, counts=(2, 0), changes=ARRAY),
    made("an array over many lines", SOURCE.replace(b",", b",\r\n\n"), SOURCE, counts=(2, 0), changes=ARRAY),
    made("two empty files", b"", b"", says="holds no prompt that all of en, es have"),
    *(made(name, rows(row), rows(row), counts=(4, 0)) for name, row in _TAKEN.items()),
    *(made(name, rows(row), says=at(4, says)) for name, (row, says) in _REFUSED.items()),
    *(made(name, content, says=says) for name, (content, says) in _FILES.items()),
    *(made(name, content, SOURCE, says=says, changes=ARRAY) for name, (content, says) in _ARRAYS.items()),
    *(
        made(
            name,
            rows(f'{{"id": "d", "prompt": "x", "answer": {value}}}', ids=""),
            says=at(1, says),
            changes=ANSWERS,
        )
        for name, (value, says) in _ANSWERS.items()
    ),
    *(made(name, says=says, changes=changes) for name, (changes, says) in _KEYS.items()),
]
