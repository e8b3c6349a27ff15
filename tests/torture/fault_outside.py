"""Faults of others: a process of two is killed, a server that is asked fails in every way."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from tests.engines.fault_server import FaultServer, Reply, Script, Seen, completion, error, serving
from tests.engines.test_openai_faults import FAULTS
from tests.judging.test_endpoint import Served, oracle
from tests.torture import forked
from tests.torture.fault import WORDS, Fault, a_folder, content_of, finished, judged, root

_STARTED = re.compile(r"process (\d) of the 2 of (\S+): started as (\d+)")
_KILLS: dict[str, tuple[str, int, int, bool]] = {  # stage, which process, how often, the run is to go on
    "one of two that answer": ("iteration-1/responses", 0, 1, True),
    "one of two that answer, twice": ("iteration-1/responses", 1, 2, True),
    "one of two that translate": ("iteration-1/translations", 1, 1, True),
    "one of two that evaluate": ("iteration-1/evaluation", 0, 1, True),
    "one of two that answer, again and again": ("iteration-1/responses", 1, 9, False),
}


def workers(_: int) -> Iterator[Fault]:
    """One of two processes is killed: it is started again alone, or the run says that it always dies."""
    for name, (stage, number, kills, goes_on) in _KILLS.items():
        with a_folder() as folder:
            words = [sys.executable, "-m", "lidr", "run", *WORDS, "engine.processes=2"]
            with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
                process = subprocess.Popen(words, cwd=folder, stdout=out, stderr=err)
                _kill(process, folder, stage, number, kills)
            texts = [(folder / name).read_text() for name in ("out", "err")]
            met = forked.Ended(process.wait(), *texts)
            yield judged(f"killed: {name}", folder, met, "ended by signal SIGKILL.*->", may_pass=goes_on)


def _kill(process: subprocess.Popen[bytes], folder: Path, stage: str, number: int, kills: int) -> None:
    """SIGKILL to each start of a process, until it has had so many."""
    seen: set[int] = set()
    while process.poll() is None:
        found = root(folder)
        log = found / "log.txt" if found is not None else folder / "none"
        text = log.read_text() if log.exists() else ""
        for which, of, pid in _STARTED.findall(text):
            if of == stage and int(which) == number and int(pid) not in seen and len(seen) < kills:
                seen.add(int(pid))
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.02)


_GOOD = 5  # answers, before the fault
_ASKED = (
    "experiment=lab", "iterations=0", "engine=openai", "engine.endpoint.model=M", "engine.endpoint.retries=1",
    "engine.endpoint.concurrency=1", "engine.endpoint.timeout=4", "evaluation=[lab]",
    "evaluation.lab.prompts.limit=4", "languages.non_dominant=[es]",
    "languages.unseen=[]", "tracking=none", "processes=inline", "paths.outputs=outputs",
)  # fmt: skip
_JUDGED = (
    "judge", "outputs", "judge=[openai]", "tasks=[comparisons,ratings]", "limit=4",
    "judges.openai.engine.endpoint.model=M",
    "judges.openai.engine.endpoint.concurrency=1", "judges.openai.engine.endpoint.timeout=4",
    "judges.openai.engine.endpoint.retries=1", "cache=replies.sqlite",
)  # fmt: skip
_REFUSALS = {
    "no such model": Reply(404, error("no such model", 404)),
    "a wrong key": Reply(401, error("who are you?")),
    "no permission": Reply(403, error("not for you")),
    "a request it dislikes": Reply(400, error("not to my taste")),
    "a wait of a day": Reply(429, error("quota"), {"Retry-After": "86400"}),
    "silence": Reply(200, completion("late"), after=6.0),
    "a redirection to itself": Reply(307, b"", {"Location": "completions"}),
}
_VARIABLES = {"OPENAI_API_KEY": "sk-a-key"}


def servers(_: int) -> Iterator[Fault]:
    """The engine's server fails for good after some answers, in every way; then it is mended."""
    for name, reply in (FAULTS | _REFUSALS).items():
        if name == "a chat's answer":  # which the engine understands, and asks again
            continue
        with a_folder() as folder, serving(_failing(reply, _echo)) as server:
            yield _served(f"the engine's server: {name}", folder, server, _ask, _asked())
    with a_folder() as folder, serving(_echo) as server:
        gone = server.url
    with a_folder() as folder, serving(_echo) as server:
        met = _ask(folder, gone)
        again: Callable[[], forked.Ended] = lambda: _ask(folder, server.url)  # noqa: E731
        yield judged("the engine's server: it is not there", folder, met, _GAVE_UP, again, expected=_asked())


def judges(_: int) -> Iterator[Fault]:
    """A judge's server fails for good after some verdicts, in every way; then it is mended."""
    for name, reply in (FAULTS | _REFUSALS).items():
        if name == "a chat's answer":
            continue
        with a_folder() as folder, serving(_failing(reply, Served(oracle()))) as server:
            finished()(folder)
            yield _served(f"the judge's server: {name}", folder, server, _judge, _verdicts())


_GAVE_UP = r"127\.0\.0\.1.*->"


def _echo(seen: Seen) -> Reply:
    return Reply(body=completion(f"answer {hashlib.sha256(_asked_for(seen).encode()).hexdigest()[:9]}"))


def _asked_for(seen: Seen) -> str:
    """The whole text of a request, whatever its template."""
    return str(seen.fields.get("prompt"))


def _failing(reply: Reply, good: Script) -> Script:
    """Good answers, then the fault, to all."""
    asked: list[str] = []

    def script(seen: Seen) -> Reply:
        asked.append(seen.prompt)
        return good(seen) if len(asked) <= _GOOD else reply

    return script


def _served(
    name: str,
    folder: Path,
    server: FaultServer,
    ask: Callable[[Path, str], forked.Ended],
    whole: dict[str, object],
) -> Fault:
    met = ask(folder, server.url)
    seen = len(server.seen)
    server.script = Served(oracle()) if ask is _judge else _echo

    def again() -> forked.Ended:
        ended = ask(folder, server.url)
        prompts = [_asked_for(each) for each in server.seen]
        asked_again = set(prompts[:_GOOD]) & set(prompts[seen:]) if ask is _ask else set()
        twice = f"{len(asked_again)} answers were asked for again" if asked_again else ""
        return ended._replace(code=1, err=twice) if twice else ended

    return judged(name, folder, met, _GAVE_UP, again, expected=whole)


def _ask(folder: Path, url: str) -> forked.Ended:
    words = ["run", *_ASKED, f"engine.endpoint.url={url}"]
    return forked.typed(words, folder, _VARIABLES, _hurry)


def _judge(folder: Path, url: str) -> forked.Ended:
    words = [*_JUDGED, f"judges.openai.engine.endpoint.url={url}"]
    return forked.typed(words, folder, _VARIABLES, _hurry)


def _hurry() -> None:
    from lidr.engines import endpoint_asking

    endpoint_asking.FIRST_WAIT = 0.002


@cache
def _asked() -> dict[str, object]:
    """The files of a run whose server never fails."""
    with a_folder() as folder, serving(_echo) as server:
        return _files(folder, _ask(folder, server.url))


@cache
def _verdicts() -> dict[str, object]:
    """The files of a run that was judged by a server that never fails."""
    with a_folder() as folder, serving(Served(oracle())) as server:
        finished()(folder)
        return _files(folder, _judge(folder, server.url))


def _files(folder: Path, ended: forked.Ended) -> dict[str, object]:
    found = root(folder)
    if ended.code != 0 or found is None:
        raise RuntimeError(ended.err)
    return content_of(found)
