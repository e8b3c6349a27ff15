"""The vLLM engine against a vLLM that records what it is told: requests and answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, Engine, FinishReason, Request
from lidr.engines.seeds import request_seed
from lidr.errors import LidrError
from tests import tiny
from tests.engines.fake_vllm import (
    END,
    FINAL_ONLY,
    GREEDY,
    Answer,
    FakeEngine,
    counted,
    echo,
    engine_config,
    started,
    stream,
)

pytestmark = pytest.mark.usefixtures("no_vllm_environment")
SAMPLED = SamplingConfig(max_new_tokens=24, repetition_penalty=1.2, temperature=0.7, top_p=0.9)
BYTES = tiny.tokenizer()


def spelt(text: str) -> tuple[int, ...]:
    return tuple(BYTES(text, add_special_tokens=False)["input_ids"])


def test_is_an_engine(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    assert isinstance(started(monkeypatch, folder, FakeEngine(256, echo)), Engine)


def test_sampling_is_handed_over_one_to_one(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    fake = FakeEngine(256, echo)
    engine = started(monkeypatch, folder, fake)
    stream(engine, [Request("a", "x", stop=("</t>",)), Request("b", "y")], SAMPLED)
    first, second = (vars(r.params) for r in fake.added)
    assert first == {
        "max_tokens": 24, "repetition_penalty": 1.2, "temperature": 0.7, "top_p": 0.9,
        "seed": request_seed(7, "a"), "stop": ["</t>"], "include_stop_str_in_output": True,
        "stop_token_ids": [END], "detokenize": True, "output_kind": FINAL_ONLY,
    }  # fmt: skip
    assert second == first | {"seed": request_seed(7, "b"), "stop": None, "detokenize": False}


def test_greedy_needs_no_seed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    fake = FakeEngine(256, echo)
    stream(started(monkeypatch, folder, fake), [Request("a", "x")], GREEDY)
    params = fake.added[0].params
    assert (params.seed, params.temperature, params.top_p) == (None, 0.0, 1.0)


def test_prompts_begin_once(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    fake = FakeEngine(256, echo)
    stream(started(monkeypatch, folder, fake), [Request("a", "hé", prefill="<t>")])
    assert tuple(fake.added[0].ids) == (1, *spelt("<u>hé<end><a><t>"))
    assert fake.added[0].ids == ChatFormat(BYTES, None).prompt_ids("hé", "<t>")


def test_every_completion_is_its_requests_own(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    requests = [Request(f"k{i}", f"<{i}>") for i in range(23)]
    found = stream(started(monkeypatch, folder, FakeEngine(256, echo)), requests)
    assert [c.key for c in found] != [r.key for r in requests]
    assert len(found) == 23
    assert {c.key: c.text for c in found} == {r.key: f"<u>{r.user}<a>" for r in requests}


def test_requests_are_read_as_they_are_needed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    fake = FakeEngine(256, echo)
    engine = started(monkeypatch, folder, fake, engine_config(batch_size=4))
    read: list[Request] = []
    answered = 0
    for batch in engine.stream(counted([Request(str(i), "x") for i in range(500)], read), GREEDY):
        answered += len(batch)
        assert len(read) - answered <= 4 * 4
    assert answered == 500
    assert fake.peak == 4 * 4


def test_what_an_earlier_attempt_stored_is_not_answered_again(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    engine = started(monkeypatch, folder, FakeEngine(256, echo))
    requests = [Request(str(i), "x") for i in range(9)]
    assert {c.key for c in stream(engine, requests, done={"0", "4", "8"})} == {"1", "2", "3", "5", "6", "7"}
    assert stream(engine, requests, done={str(i) for i in range(9)}) == []
    assert stream(engine, []) == []


def test_the_context_cuts_answers_and_refuses_prompts(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """`<s><u>` + text + `<end><a>` is 1 + 3 + 20 + 1 + 3 = 28 tokens."""
    request = Request("a", "x" * 20)
    for context, room in ((60, 24), (52, 24), (51, 23), (29, 1)):
        fake = FakeEngine(context, echo)
        stream(started(monkeypatch, folder, fake), [request])
        assert fake.added[0].params.max_tokens == room
    for context in (28, 20):
        fake = FakeEngine(context, echo)
        found = stream(started(monkeypatch, folder, fake), [request] * 5)
        assert found == [Completion("a", "", FinishReason.TOO_LONG, 0)] * 5
        assert fake.added == []


def test_a_prompt_that_is_too_long_holds_nothing_up(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    requests = [Request(str(i), "x" * (90 if i % 3 else 1)) for i in range(40)]
    found = stream(started(monkeypatch, folder, FakeEngine(64, echo), engine_config(batch_size=2)), requests)
    by_key = {c.key: c.finish_reason for c in found}
    assert by_key == {str(i): FinishReason.TOO_LONG if i % 3 else FinishReason.STOP for i in range(40)}


@pytest.mark.parametrize(
    ("answer", "text", "reason", "tokens"),
    [
        (Answer((*spelt("hi"), END)), "hi", "stop", 3),
        (Answer((END,)), "", "stop", 1),
        (Answer(spelt("hi"), "length"), "hi", "length", 2),
        (Answer(spelt("hi</t>")), "hi</t>", "stop", 6),
        (Answer(spelt("hi</t> and")), "hi</t>", "stop", 10),
        (Answer(spelt("a</s>b</t>")), "a</s>", "stop", 10),
    ],
)
def test_ends(
    monkeypatch: pytest.MonkeyPatch, folder: Path, answer: Answer, text: str, reason: str, tokens: int
) -> None:
    engine = started(monkeypatch, folder, FakeEngine(256, lambda *_: answer))
    [found] = stream(engine, [Request("k", "x", stop=("</t>", "</s>"))])
    assert found == Completion("k", text, FinishReason(reason), tokens)


def test_the_models_own_settings_end_answers_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tiny.save(tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 9]}))
    fake = FakeEngine(256, lambda *_: Answer((*spelt("a"), 9)))
    [found] = stream(started(monkeypatch, folder, fake), [Request("k", "x")])
    assert fake.added[0].params.stop_token_ids == [2, 9]
    assert found == Completion("k", "a", FinishReason.STOP, 2)
    (folder / "generation_config.json").unlink()
    stream(started(monkeypatch, folder, fake), [Request("k", "x")])
    assert fake.added[-1].params.stop_token_ids == [2]


def test_a_request_vllm_gave_up_on_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    engine = started(monkeypatch, folder, FakeEngine(256, lambda *_: Answer((), "abort")))
    with pytest.raises(LidrError, match="gave up") as error:
        stream(engine, [Request("k", "x")])
    assert error.value.where == "request 'k'"


def test_a_stream_that_is_left_takes_its_requests_with_it(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    fake = FakeEngine(256, echo)
    batches = started(monkeypatch, folder, fake).stream([Request(str(i), "x") for i in range(4)], GREEDY)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert fake.aborted == [r.name for r in fake.inside]
    assert len(fake.aborted) == 3
