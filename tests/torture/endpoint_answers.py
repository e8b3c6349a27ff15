"""What a server may answer, to a run whose model it serves."""

from __future__ import annotations

import json
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from lidr.engines.base import Engine
from lidr.lab.model import model_path
from lidr.records import Prompt
from lidr.synthesis.generate import generate
from tests.engines.endpoints import GREEDY, engine
from tests.engines.fault_server import Reply, completion, error, serving
from tests.torture.case import Case, Given

BASE = (
    "iterations=0", "engine=openai", "engine.endpoint.model=M", "engine.endpoint.retries=0",
    "engine.endpoint.timeout=20", "evaluation=[lab]", "evaluation.lab.prompts.limit=2",
    "evaluation.lab.languages=[en,es]", "languages.non_dominant=[es]", "languages.unseen=[]", "tracking=none",
    "processes=inline",
)  # fmt: skip
KEY = "sk-a-sentinel-that-no-file-may-hold"


def answered(name: str, reply: Reply, says: str | None) -> Case:
    """A server that gives one answer to all."""

    def prepare(folder: Path, stack: ExitStack) -> Given:
        server = stack.enter_context(serving(lambda _: reply))
        words = ["run", *BASE, f"engine.endpoint.url={server.url}", "paths.outputs=outputs"]
        asked = engine(server.url, folder, _tokenizer(), retries=0, timeout=20.0)
        return Given(
            words, lambda: _ask(asked, folder), variables={"OPENAI_API_KEY": KEY, "LIDR_TEST_KEY": KEY}
        )

    return Case(f"server: {name}", prepare, says, shows="" if says else "report ")


def _ask(asked: Engine, folder: Path) -> None:
    prompts = {"en": [Prompt(f"k{i}", "en", f"word {i}") for i in range(2)]}
    assert generate(prompts, asked, GREEDY, folder / "responses") == 2


@cache
def _tokenizer() -> str:
    return str(model_path())


def body(**choice: Any) -> Reply:
    return Reply(200, completion("yes") | {"choices": [{"text": "yes", "finish_reason": "stop"} | choice]})


def usage(**values: Any) -> Reply:
    return Reply(200, completion("yes", usage=None) | {"usage": values})


def context(message: str) -> Reply:
    return Reply(400, error(f"This model's maximum context length is {message}"))


DEEP = b"[" * 100_000
GAVE_UP = "-> see to the server and run the same command again"
_ANSWERS: dict[str, tuple[Reply, str | None]] = {
    "a good answer": (Reply(200, completion("yes")), None),
    "nothing": (Reply(200, b""), f"answered with nothing, once.*{GAVE_UP}"),
    "half a body": (Reply(200, b'{"choices": [{"te'), f"no JSON object, once.*{GAVE_UP}"),
    "a page": (Reply(200, b"<html>\x1b[31m</html>"), f"no JSON object, once.*{GAVE_UP}"),
    "UTF-16": (Reply(200, json.dumps(completion("yes")).encode("utf-16")), f"no JSON object.*{GAVE_UP}"),
    "bytes that are no text": (Reply(200, b'{"choices": "\xff"}'), f"no JSON object.*{GAVE_UP}"),
    "half a surrogate pair": (
        Reply(200, b'{"choices": [{"text": "\\ud800", "finish_reason": "stop"}]}'), GAVE_UP),
    "endless nesting": (Reply(200, DEEP), f"no JSON object.*{GAVE_UP}"),
    "endless nesting where nobody looks": (
        Reply(200, b'{"choices": [{"text": "yes", "finish_reason": "stop"}], "x": ' + DEEP + b"}"), GAVE_UP),
    "a list": (Reply(200, []), f"no JSON object.*{GAVE_UP}"),
    "no choices": (Reply(200, {"choices": []}), rf"answered without an answer \(choices: .*{GAVE_UP}"),
    "a number for a text": (body(text=5), f"answered without an answer.*{GAVE_UP}"),
    "no text": (body(text=None), f"answered without a text.*{GAVE_UP}"),
    "a reason that is a list": (body(finish_reason=["stop"]), f"answered without an answer.*{GAVE_UP}"),
    "a reason of a megabyte": (body(finish_reason="\x1b" * 1_000_000), f"ended an answer for the reason.*{GAVE_UP}"),
    "a text of a megabyte": (body(text="word " * 200_000), None),
    "a text that acts on a terminal": (body(text="\x1b]0;x\x07\u202e\x00"), None),
    "usage that is a text": (Reply(200, completion("yes", usage=None) | {"usage": "much"}), None),
    "usage below zero": (usage(prompt_tokens=-5, completion_tokens=5), None),
    "usage beyond belief": (usage(prompt_tokens=10**400, completion_tokens=10**400), None),
    "usage that is not finite": (
        Reply(200, b'{"choices": [{"text": "y", "finish_reason": "stop"}], "usage": {"prompt_tokens": NaN}}'), None),
    "an error without a message": (Reply(400, {"error": {}}), "the server answered 400"),
    "an error that is a list": (Reply(400, [[["x"]]]), "the server answered 400"),
    "an error that nests endlessly": (Reply(400, DEEP), r"the server answered 400: \[\[\["),
    "an error of a megabyte": (Reply(400, error("x" * 1_000_000)), "the server answered 400: xxx"),
    "an error that acts on a terminal": (Reply(400, error("\x1b[31mred\u202e")), r"the server answered 400: \[31mred"),
    "an error that repeats the key": (Reply(401, error(f"wrong key {KEY}")), r"401: wrong key \*\*\* -> export"),
    "a context of 5,000 digits": (context("9" * 5000), "leaves? no room"),
    "a context in other digits": (context("٤٠٩٦ tokens"), "leaves? no room"),
    "a context of nothing": (context("0 tokens, you requested 5 in the messages"), "leaves? no room for an answer"),
    "a wait that is no number": (Reply(429, error("busy"), {"Retry-After": "soon"}), GAVE_UP),
    "a wait without end": (Reply(429, error("busy"), {"Retry-After": "inf"}), f"asks to wait|{GAVE_UP}"),
    "a wait until a day that never was": (
        Reply(429, error("busy"), {"Retry-After": "Mon, 99 Foo 99999 25:61:61 +9999"}), GAVE_UP),
    "an encoding that is none": (
        Reply(400, b"no", {"Content-Type": "text/plain; charset=hex"}), "the server answered|->"),
    "an encoding of names": (
        Reply(400, b"\xff\xfe", {"Content-Type": "text/plain; charset=idna"}), "the server answered|->"),
    "a body that is not what its header says": (
        Reply(200, b"no gzip", {"Content-Encoding": "gzip"}), GAVE_UP),
    "a redirection to itself": (Reply(307, b"", {"Location": "completions"}), f"->|{GAVE_UP}"),
    "a redirection to a file": (Reply(307, b"", {"Location": "file:///etc/passwd"}), f"->|{GAVE_UP}"),
    "no connection": (Reply(None), f"gave no connection, or broke it off.*{GAVE_UP}"),
}  # fmt: skip

CASES: list[Case] = [answered(name, reply, says) for name, (reply, says) in _ANSWERS.items()]
