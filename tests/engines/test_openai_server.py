"""The openai engine against a server that is not ours: `transformers serve`, a process of its own on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lidr.chat import ChatFormat
from lidr.config import EndpointApi, Precision, SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.engines.transformers import TransformersEngine
from lidr.errors import LidrError
from lidr.models import load_model, load_tokenizer
from lidr.paths import BUILTIN_LAB, resolve_model
from tests.engines.endpoints import answers, engine, ledger

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.xdist_group("server")]

GREEDY = SamplingConfig(max_new_tokens=32, repetition_penalty=1.0)
PROMPTS = [
    "Tom has 12 apples. He buys 7 more. How many apples does Tom have?",
    "Ana tiene 5 libros y compra 9 más. ¿Cuántos libros tiene Ana?",
    "Paul hat 20 Äpfel. Er isst 3. Wie viele Äpfel hat Paul?",
    "Marie a 8 stylos et en achète 6. Combien de stylos a Marie?",
    "У Ивана 15 яблок. Он купил ещё 2. Сколько яблок у Ивана?",
]
REQUESTS = [Request(f"k{i}", text, "To find" if i % 2 else "") for i, text in enumerate(PROMPTS)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server that runs the lab's M_0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [str(Path(sys.executable).with_name("transformers")), "serve", resolve_model(BUILTIN_LAB)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        _wait(process, port, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + 180
    while time.monotonic() < until:
        if process.poll() is not None:
            pytest.fail(f"the server ended: {log.read_text()[-2000:]}")
        try:
            with opener.open(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the server does not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def own() -> TransformersEngine:
    path = resolve_model(BUILTIN_LAB)
    model = load_model(path, Precision.FP32, torch.device("cpu"))
    return TransformersEngine(model, ChatFormat(load_tokenizer(path), None), 4)


def of(
    own: TransformersEngine, wanted: list[Request], sampling: SamplingConfig = GREEDY
) -> dict[str, Completion]:
    return {c.key: c for batch in own.stream(wanted, sampling) for c in batch}


def test_completions_are_those_of_the_own_engine(
    tmp_path: Path, server: str, own: TransformersEngine
) -> None:
    lab = resolve_model(BUILTIN_LAB)
    asked = engine(server, tmp_path, lab, model=lab, timeout=120.0)
    found, expected = answers(asked, REQUESTS, GREEDY), of(own, REQUESTS)
    assert found == expected
    assert {c.finish_reason for c in found.values()} == {FinishReason.STOP}
    lines = {line["key"]: line for line in ledger(tmp_path)}
    chat = ChatFormat(load_tokenizer(lab), None)
    assert {key: line["prompt_tokens"] for key, line in lines.items()} == {
        r.key: len(chat.prompt_ids(r.user, r.prefill)) for r in REQUESTS
    }
    assert {key: line["completion_tokens"] for key, line in lines.items()} == {
        key: c.tokens for key, c in expected.items()
    }


def test_stop_texts_stay_and_long_prompts_are_not_answered(
    tmp_path: Path, server: str, own: TransformersEngine
) -> None:
    lab = resolve_model(BUILTIN_LAB)
    wanted = [Request("stopped", PROMPTS[0], "", (":", "apples")), Request("long", "apple " * 600)]
    found = answers(engine(server, tmp_path, lab, model=lab, timeout=120.0), wanted, GREEDY)
    expected = of(own, wanted)
    assert (found["stopped"].text, found["stopped"].finish_reason) == (
        expected["stopped"].text,
        FinishReason.STOP,
    )
    assert found["stopped"].text.endswith("apples")
    assert found["long"] == Completion("long", "", FinishReason.TOO_LONG, 0)


def test_a_chat_answers_what_a_completion_answers(
    tmp_path: Path, server: str, own: TransformersEngine
) -> None:
    lab = resolve_model(BUILTIN_LAB)
    wanted = [Request(r.key, r.user) for r in REQUESTS[:2]]
    asked = engine(server, tmp_path, lab, model=lab, timeout=120.0, api=EndpointApi.CHAT)
    short = SamplingConfig(max_new_tokens=8, repetition_penalty=1.0)
    found = answers(asked, wanted, short)
    assert found == of(own, wanted, short)
    assert {c.finish_reason for c in found.values()} == {FinishReason.LENGTH}


def test_a_penalty_that_this_server_does_not_know_is_named(tmp_path: Path, server: str) -> None:
    lab = resolve_model(BUILTIN_LAB)
    asked = engine(server, tmp_path, lab, model=lab, timeout=120.0)
    with pytest.raises(LidrError, match=r"answered 422: .*-> type engine\.sampling\.repetition_penalty=1 "):
        answers(asked, REQUESTS[:1], SamplingConfig(32, 1.1))
