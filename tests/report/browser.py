"""A headless Chromium driven over a pipe: no driver program, no socket, no package."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
    ),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
)
_PATIENCE_SECONDS = 60.0
_PROBES = Path(__file__).with_name("probes.js").read_text(encoding="utf-8").split("\n", 1)[1].strip()
_HIGH = 64  # pipes are moved to descriptors from here on, so that 3 and 4 are free in the child


def find_chromium() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Chromium:
    """The browser process; `page` opens a tab."""

    def __init__(self, program: str, profile: Path) -> None:
        to_child, write = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in os.pipe())
        read, from_child = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in os.pipe())

        def wire() -> None:
            os.dup2(to_child, 3)
            os.dup2(from_child, 4)

        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}"],
            preexec_fn=wire,
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self._read, self._write, self._buffer = read, write, b""
        self._numbers = itertools.count(1)
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            self.call("Browser.close")
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def page(self, width: int = 1280, height: int = 900, *, dark: bool = False, mobile: bool = False) -> Page:
        """A tab of a size in CSS pixels, in a light or dark system."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        page.call("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", {"features": [scheme]})
        return page

    def call(self, method: str, values: Mapping[str, Any] | None = None, session: str | None = None) -> Any:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": dict(values or {})}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def receive(self) -> dict[str, Any]:
        """The next message; an event is also handed to its page."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise RuntimeError("Chromium has ended")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        page = self._pages.get(message.get("sessionId", ""))
        if page is not None and "method" in message:
            page.events.append(message)
        return message


@dataclass
class Page:
    """A tab, and all that happened in it."""

    browser: Chromium
    session: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, values: Mapping[str, Any] | None = None) -> Any:
        return self.browser.call(method, values, self.session)

    def open(self, path: Path, fragment: str = "") -> Self:
        """Loads a file from disk, from scratch, and waits until it stands."""
        self.call("Page.navigate", {"url": "about:blank"})
        self._wait()
        self.events.clear()
        self.call("Page.navigate", {"url": path.resolve().as_uri() + (f"#{fragment}" if fragment else "")})
        self._wait()
        return self

    def _wait(self) -> None:
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self.browser.receive()
        self.events[:] = [e for e in self.events if e["method"] != "Page.loadEventFired"]

    def evaluate(self, expression: str) -> Any:
        """The value of an expression; a promise is waited for."""
        values = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", values)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def probe(self, name: str, *arguments: object) -> Any:
        """What a function of probes.js says of the page."""
        return self.evaluate(f"({_PROBES}).{name}({', '.join(map(json.dumps, arguments))})")

    def screenshot(self, path: Path, selector: str | None = None) -> None:
        """What the window shows, scrolled to an element where one is named."""
        if selector:
            self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView()")
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", {"format": "png"})["data"]))

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key, pressed and let go."""
        values = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", {"type": "keyDown", "text": text, **values})
        self.call("Input.dispatchKeyEvent", {"type": "keyUp", **values})

    def requests(self) -> list[str]:
        """Addresses that were asked for."""
        return [e["params"]["request"]["url"] for e in self._of("Network.requestWillBeSent")]

    def complaints(self) -> list[str]:
        """Exceptions, messages of the console, refusals of the policy, and dialogs."""
        found = [json.dumps(e["params"]) for e in self._of("Runtime.exceptionThrown")]
        found += [json.dumps(e["params"]) for e in self._of("Runtime.consoleAPICalled")]
        found += [e["params"]["entry"]["text"] for e in self._of("Log.entryAdded")]
        return found + [json.dumps(e["params"]) for e in self._of("Page.javascriptDialogOpening")]

    def _of(self, method: str) -> Iterator[dict[str, Any]]:
        return (event for event in self.events if event["method"] == method)
