"""The openai engine against a server that fails in every way servers do."""

from __future__ import annotations

import logging
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from lidr.config import EndpointApi
from lidr.engines import endpoint_asking
from lidr.engines.base import Completion, Request
from lidr.engines.endpoint_answers import redacted, seconds_to_wait, shown
from lidr.errors import LidrError
from tests.engines.endpoints import answers, collect, engine, ledger, requests
from tests.engines.fault_server import Reply, Seen, completion, error, message, serving

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.usefixtures("short_waits")]

KEY = "sk-a-key-that-no-file-may-hold"
CHAT = {"api": EndpointApi.CHAT}


def yes(text: str = "yes") -> Reply:
    return Reply(body=completion(text))


FAULTS = {
    "busy": Reply(429, error("slow down"), {"Retry-After": "0"}),
    "time-out of its own": Reply(408, error("late")),
    "conflict": Reply(409, error("locked")),
    "broken": Reply(500, b"<html>Internal Server Error</html>"),
    "overloaded": Reply(503, error("no room")),
    "no JSON": Reply(200, b"<html>Welcome to the proxy</html>"),
    "half a body": Reply(200, b'{"choices": [{"text": "ye'),
    "no UTF-8": Reply(200, b'{"choices": [{"text": "\xff\xfe", "finish_reason": "stop"}]}'),
    "another body": Reply(200, [1, 2, 3]),
    "empty": Reply(200, b""),
    "no choices": Reply(200, {"choices": []}),
    "null choices": Reply(200, {"choices": None}),
    "a choice of another type": Reply(200, {"choices": ["yes"]}),
    "a number for a text": Reply(200, {"choices": [{"text": 3, "finish_reason": "stop"}]}),
    "no finish reason": Reply(200, {"choices": [{"text": "ye"}]}),
    "aborted": Reply(200, completion("ye", "abort", None)),
    "an unknown reason": Reply(200, completion("ye", "weather", None)),
    "endless nesting": Reply(200, b"[" * 100_000),
    "a chat's answer": Reply(200, message("yes", usage=None)),
    "no answer": Reply(None),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_request_is_sent_again(tmp_path: Path, tokenizer: str, fault: Reply) -> None:
    """Every second request fails twice; retries is 2."""

    def script(seen: Seen) -> Reply:
        fails = int(seen.prompt[-1]) % 2 == 0 and seen.attempt <= 2
        return fault if fails else yes(seen.prompt)

    with serving(script) as server:
        found = answers(engine(server.url, tmp_path, tokenizer), requests(4))
    assert {key: c.text for key, c in found.items()} == {f"k{i}": f"word {i}" for i in range(4)}
    assert sorted(server.prompts) == ["word 0"] * 3 + ["word 1"] + ["word 2"] * 3 + ["word 3"]
    assert sorted(line["key"] for line in ledger(tmp_path)) == ["k0", "k1", "k2", "k3"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (FAULTS["overloaded"], r"the server answered 503 \(no room\), 3 times in a row"),
        (FAULTS["broken"], r"answered 500 \(<html>Internal Server Error</html>\), 3 times"),
        (FAULTS["no JSON"], "answered with something that is no JSON object, 3 times"),
        (FAULTS["empty"], "answered with nothing, 3 times"),
        (FAULTS["no choices"], r"answered without an answer \(choices: "),
        (FAULTS["an unknown reason"], "ended an answer for the reason 'weather', 3 times"),
        (FAULTS["no answer"], r"gave no connection, or broke it off \(Server disconnected"),
    ],
)
def test_a_server_that_does_not_mend_is_given_up(
    tmp_path: Path, tokenizer: str, fault: Reply, words: str
) -> None:
    def script(seen: Seen) -> Reply:
        return fault if seen.prompt == "word 4" else yes()

    found: dict[str, Completion] = {}
    with serving(script) as server:
        asked = engine(server.url, tmp_path, tokenizer, concurrency=1)
        with pytest.raises(LidrError, match=words) as raised:
            collect(asked, requests(9), found)
    assert raised.value.where == server.url
    assert "the 4 answers that came before stand" in raised.value.what
    assert raised.value.instead == "see to the server and run the same command again: it goes on"
    assert sorted(found) == ["k0", "k1", "k2", "k3"]
    assert server.prompts.count("word 4") == 3
    assert "word 5" not in server.prompts


def test_a_silent_server_is_asked_again(tmp_path: Path) -> None:
    def script(seen: Seen) -> Reply:
        return Reply(body=message("yes"), after=30.0 if seen.attempt == 1 else 0.0)

    with serving(script) as server:
        asked = engine(server.url, tmp_path, timeout=0.5, retries=20, **CHAT)
        assert answers(asked, requests(1))["k0"].text == "yes"
    assert len(server.seen) >= 2
    assert len(ledger(tmp_path)) == 1


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    with serving(lambda seen: Reply(body=message("yes"), after=30.0)) as server:
        asked = engine(server.url, tmp_path, timeout=0.2, retries=0, **CHAT)
        with pytest.raises(
            LidrError, match=r"the server did not answer within 0\.2 s, once -> see to the server"
        ):
            answers(asked, requests(1))


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with serving(lambda seen: yes()) as server:
        url = server.url
    with pytest.raises(
        LidrError, match=r"gave no connection, or broke it off \(All connection attempts failed\)"
    ):
        answers(engine(url, tmp_path, retries=1, **CHAT), requests(1))


def test_answers_on_their_way_are_not_lost(tmp_path: Path, tokenizer: str) -> None:
    """The fourth request is refused at once; the other three land later and are yielded before the error."""

    def script(seen: Seen) -> Reply:
        if seen.prompt == "word 3":
            return Reply(400, error("this one is not to my taste"))
        return Reply(body=completion(seen.prompt), after=0.15)

    found: dict[str, Completion] = {}
    with serving(script) as server:
        with pytest.raises(
            LidrError, match="400: this one is not to my taste; the 3 answers that came before stand"
        ):
            collect(engine(server.url, tmp_path, tokenizer, concurrency=4), requests(30), found)
        assert sorted(found) == ["k0", "k1", "k2"]
        assert len(server.seen) == 4
        server.script = lambda seen: yes(seen.prompt)
        found |= answers(engine(server.url, tmp_path, tokenizer), requests(30), done=frozenset(found))
    assert {k: c.text for k, c in found.items()} == {f"k{i}": f"word {i}" for i in range(30)}
    assert len(server.seen) == 4 + 27


def test_nothing_is_sent_again_after_a_refusal(tmp_path: Path, tokenizer: str) -> None:
    """One request waits a minute before its next attempt when another is refused: it is not waited for."""

    def script(seen: Seen) -> Reply:
        if seen.prompt == "word 0":
            return Reply(429, error("busy"), {"Retry-After": "60"})
        return Reply(401, error("who are you?"), after=0.1)

    started = time.monotonic()
    with serving(script) as server:
        asked = engine(server.url, tmp_path, tokenizer, timeout=99.0)
        with pytest.raises(LidrError, match="401: who are you"):
            answers(asked, requests(2))
    assert time.monotonic() - started < 20
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("status", "body", "advice"),
    [
        (401, error("no such thing\nand more"), "export LIDR_TEST_KEY=<a key the server takes>"),
        (403, {"error": "no such thing\nand more"}, "export LIDR_TEST_KEY=<a key the server takes>"),
        (
            404,
            error("no such thing", 404),
            r"type engine\.endpoint\.model=<a name that http://127.*/v1/models lists>",
        ),
        (404, {"object": "error", "message": "no such thing", "code": 404}, r"type engine\.endpoint\.model="),
        (422, {"detail": "no such thing\nand more"}, "change what it complains about"),
        (400, b"no such thing\nand more", "change what it complains about"),
    ],
)
def test_refusals_are_final(tmp_path: Path, tokenizer: str, status: int, body: object, advice: str) -> None:
    with serving(lambda seen: Reply(status, body)) as server:
        asked = engine(server.url, tmp_path, tokenizer)
        with pytest.raises(LidrError, match=rf"the server answered {status}: no such thing -> {advice}"):
            answers(asked, requests(1))
    assert len(server.seen) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_server_says_how_long_to_wait(tmp_path: Path, tokenizer: str, form: str) -> None:
    def script(seen: Seen) -> Reply:
        asked = "0.4" if form == "seconds" else formatdate(time.time() + 1.9, usegmt=True)
        return Reply(429, error("busy"), {"Retry-After": asked}) if seen.attempt == 1 else yes()

    started = time.monotonic()
    with serving(script) as server:
        answers(engine(server.url, tmp_path, tokenizer), requests(1))
    assert time.monotonic() - started >= 0.4
    assert len(server.seen) == 2


def test_a_clock_that_is_wrong_here_does_not_change_the_wait() -> None:
    """The server's clock is ten years behind this machine's."""
    then = time.time() - 3e8
    headers = {"retry-after": formatdate(then + 30, usegmt=True), "date": formatdate(then, usegmt=True)}
    assert seconds_to_wait(headers) == 30
    assert seconds_to_wait({"retry-after": headers["retry-after"]}) == 0
    assert seconds_to_wait({"retry-after": "soon", "date": headers["date"]}) == 0


def test_a_wait_longer_than_a_request_may_take_ends_the_stage(tmp_path: Path, tokenizer: str) -> None:
    with serving(lambda seen: Reply(429, error("quota"), {"Retry-After": "86400"})) as server:
        asked = engine(server.url, tmp_path, tokenizer)
        with pytest.raises(LidrError, match=r"answered 429 \(quota\), and asks to wait 86400 s"):
            answers(asked, requests(1))
    assert len(server.seen) == 1


def test_waits_double_and_differ_by_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From half of 1, 2, 4, ... units to the whole, the same in every attempt of the stage."""
    waited: list[list[float]] = []

    def timeout(seconds: float) -> object:
        waited[-1].append(seconds)
        return real(0)

    real = endpoint_asking.asyncio.timeout
    for key in ("a", "b", "a"):
        waited.append([])
        with serving(lambda seen: Reply(500, b"")) as server:
            asked = engine(server.url, tmp_path, retries=4, timeout=99.0, **CHAT)
            monkeypatch.setattr(endpoint_asking, "FIRST_WAIT", 1.0)
            monkeypatch.setattr(endpoint_asking.asyncio, "timeout", timeout)
            with pytest.raises(LidrError):
                answers(asked, [Request(key, "x")])
            monkeypatch.setattr(endpoint_asking.asyncio, "timeout", real)
    waited = [[s for s in seconds if s != 99.0] for seconds in waited]
    assert all(2**i / 2 <= s <= 2**i for seconds in waited for i, s in enumerate(seconds))
    assert len(waited[0]) == 4
    assert waited[0] == waited[2] != waited[1]


def test_messages_are_made_safe() -> None:
    assert shown("\n  \n a\x1b[31mb\u202ec\td\nnext") == "a [31mb c d"
    assert shown("x" * 500) == "x" * 199 + "…"
    assert shown("") == "no message"
    assert redacted(f"key {KEY} and {KEY}", KEY) == "key *** and ***"
    assert redacted("none of that", "none") == redacted("none of that", None) == "none of that"


@pytest.fixture
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIDR_TEST_KEY", KEY)


@pytest.mark.usefixtures("_key")
@pytest.mark.parametrize(
    ("api", "status"),
    [(EndpointApi.CHAT, 200), *((EndpointApi.COMPLETIONS, status) for status in (200, 401, 500, None))],
)
def test_the_key_reaches_the_server_and_nothing_else(
    tmp_path: Path,
    tokenizer: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    api: EndpointApi,
    status: int | None,
) -> None:
    """Every logger of every library is open; the server repeats the key in what it says."""
    body = message("yes") if api is EndpointApi.CHAT else completion("yes")
    said = error(f"Incorrect API key provided: {KEY}.\n{KEY}")
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("openai", "httpx", "httpcore", "h11", "asyncio", "lidr")):
            caplog.set_level(logging.DEBUG, logger=name)
    found: dict[str, Completion] = {}
    with serving(lambda seen: Reply(status, body if status == 200 else said)) as server:
        asked = engine(server.url, tmp_path, tokenizer, api=api, retries=1)
        try:
            collect(asked, requests(2), found)
        except LidrError as raised:
            told = f"{raised!r} {raised.__dict__}" + "".join(traceback.format_exception(raised))
        else:
            told = ""
    assert {seen.headers["authorization"] for seen in server.seen} == {f"Bearer {KEY}"}
    assert bool(told) == (status != 200)
    printed = capfd.readouterr()
    files = "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    assert len(caplog.text) > 100
    for text in (told, caplog.text, printed.out, printed.err, files, repr(asked), repr(vars(asked))):
        assert KEY not in text


def test_a_server_of_ones_own_needs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIDR_TEST_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)  # not the variable that the configuration names
    with serving(lambda seen: Reply(body=message("yes"))) as server:
        answers(engine(server.url, tmp_path, **CHAT), requests(1))
    assert server.seen[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize(
    ("url", "key", "words"),
    [
        ("https://api.example.org/v1", None, "environment variable LIDR_TEST_KEY: is not set"),
        ("https://api.example.org/v1", "  ", "environment variable LIDR_TEST_KEY: is not set"),
        ("https://api.example.org/v1", "sk-two words", "holds characters that no key has"),
        ("https://api.example.org/v1", "sk-schlüssel", "holds characters that no key has"),
        ("http://:8000/v1", "sk", "engine.endpoint.url: 'http://:8000/v1' names no server"),
        ("http://127.0.0.1:port/v1", "sk", "names no server"),
    ],
)
def test_nothing_is_sent_without_key_or_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, key: str | None, words: str
) -> None:
    if key is None:
        monkeypatch.delenv("LIDR_TEST_KEY", raising=False)
    else:
        monkeypatch.setenv("LIDR_TEST_KEY", key)
    with pytest.raises(LidrError, match=words) as raised:
        answers(engine(url, tmp_path, **CHAT), requests(1))
    assert key is None or not key.strip() or key not in str(raised.value)
    assert not (tmp_path / "usage.jsonl").exists()


def test_a_proxy_of_the_environment_does_not_stand_before_ones_own_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with serving(lambda seen: Reply(body=message("yes"))) as server:
        assert len(answers(engine(server.url, tmp_path, retries=0, **CHAT), requests(1))) == 1


@pytest.fixture
def _interruptible() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_gives_up_what_is_on_its_way(tmp_path: Path, tokenizer: str) -> None:
    main = threading.main_thread().ident
    assert main is not None
    before = set(threading.enumerate())

    def script(seen: Seen) -> Reply:
        if seen.prompt in ("word 0", "word 1"):
            return yes(seen.prompt)
        if seen.prompt == "word 5":
            while len(found) < 2 and time.monotonic() < started + 10:  # it is sent before both are handed on
                time.sleep(0.01)
            signal.pthread_kill(main, signal.SIGINT)
        return Reply(body=completion("late"), after=30.0)

    found: dict[str, Completion] = {}
    started = time.monotonic()
    with serving(script) as server:
        with pytest.raises(KeyboardInterrupt):
            collect(engine(server.url, tmp_path, tokenizer, concurrency=4, timeout=60.0), requests(9), found)
        assert time.monotonic() - started < 20
        assert sorted(found) == ["k0", "k1"]
        server.script = lambda seen: yes(seen.prompt)
        found |= answers(engine(server.url, tmp_path, tokenizer), requests(9), done=frozenset(found))
    assert len(found) == 9
    assert set(threading.enumerate()) == before


def test_a_broken_list_of_requests_ends_after_what_was_sent(tmp_path: Path, tokenizer: str) -> None:
    def reading() -> Iterator[Request]:
        yield from requests(3)
        raise LidrError("the line is no record", where="prompts.jsonl:4")

    found: dict[str, Completion] = {}
    with (
        serving(lambda seen: yes()) as server,
        pytest.raises(LidrError, match=r"prompts\.jsonl:4: the line is no"),
    ):
        collect(engine(server.url, tmp_path, tokenizer), reading(), found)
    assert sorted(found) == ["k0", "k1", "k2"]


def test_the_same_answers_after_any_faults(tmp_path: Path, tokenizer: str) -> None:
    """A server that fails three requests in four by a fixed dice, in any order, changes no answer."""
    faults = [FAULTS[name] for name in ("busy", "broken", "no JSON", "no answer", "no choices")]

    def script(seen: Seen) -> Reply:
        dice = hash_of(seen)
        if dice % 4 and seen.attempt < 4:
            return faults[dice % len(faults)]
        return Reply(body=completion(seen.prompt.upper()), after=(dice % 7) * 0.002)

    def hash_of(seen: Seen) -> int:
        return sum(seen.prompt.encode()) * 31 + seen.attempt * 17

    with serving(script) as server:
        found = answers(engine(server.url, tmp_path, tokenizer, concurrency=16, retries=4), requests(60))
    assert {k: c.text for k, c in found.items()} == {f"k{i}": f"WORD {i}" for i in range(60)}
    assert len(server.seen) > 100
    assert len(ledger(tmp_path)) == 60
