"""A server on loopback that answers as a script tells it to."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """status None: the connection is closed without an answer. after: seconds it is held back."""

    status: int | None = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Seen:
    """A request as the server saw it. attempt: how often the same prompt has come, from 1."""

    path: str
    headers: dict[str, str]
    fields: dict[str, Any]
    attempt: int

    @property
    def prompt(self) -> str:
        """The user's words."""
        if "messages" in self.fields:
            return str(self.fields["messages"][-1]["content"])
        return str(self.fields["prompt"]).partition("<u>")[2].partition("<end>")[0]


Script = Callable[[Seen], Reply]


@dataclass
class FaultServer:
    """seen: all requests in the order of their arrival. most: requests that were held at the same time."""

    url: str
    script: Script
    seen: list[Seen] = field(default_factory=list)
    held: int = 0
    most: int = 0
    finished: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _attempts: Counter[str] = field(default_factory=Counter)

    def reply(self, path: str, headers: dict[str, str], fields: dict[str, Any]) -> Reply:
        with self._lock:
            name = json.dumps([fields.get("prompt"), fields.get("messages")])
            self._attempts[name] += 1
            seen = Seen(path, headers, fields, self._attempts[name])
            self.seen.append(seen)
            self.held += 1
            self.most = max(self.most, self.held)
        reply = self.script(seen)
        self.finished.wait(reply.after)
        with self._lock:
            self.held -= 1
        return reply

    @property
    def prompts(self) -> list[str]:
        return [seen.prompt for seen in self.seen]


@contextmanager
def serving(script: Script) -> Iterator[FaultServer]:
    http = _Server(("127.0.0.1", 0), _Handler)
    http.state = FaultServer(f"http://127.0.0.1:{http.server_port}/v1", script)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield http.state
    finally:
        http.state.finished.set()
        http.shutdown()
        http.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    state: FaultServer
    request_queue_size = 128
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        fields = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = self.server.state.reply(self.path, {k.lower(): v for k, v in self.headers.items()}, fields)
        self.close_connection = reply.status is None
        if reply.status is None:
            return
        body = reply.encoded()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""


def completion(text: str, finish_reason: str = "stop", usage: Any = (10, 5), **choice: Any) -> dict[str, Any]:
    """The body of an answer; usage: tokens of prompt and answer."""
    body = {"choices": [{"index": 0, "text": text, "finish_reason": finish_reason, **choice}]}
    return body | _usage(usage)


def message(content: str | None, finish_reason: str = "stop", usage: Any = (10, 5)) -> dict[str, Any]:
    """The body of a chat's answer."""
    said = {"role": "assistant", "content": content}
    return {"choices": [{"index": 0, "message": said, "finish_reason": finish_reason}]} | _usage(usage)


def error(message: str, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": code}}


def _usage(usage: Any) -> dict[str, Any]:
    if usage is None:
        return {}
    return {"usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}}
