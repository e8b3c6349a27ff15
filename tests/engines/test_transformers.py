"""The transformers engine against plain `generate`, one request at a time."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from lidr.chat import ChatFormat
from lidr.config import Precision, SamplingConfig
from lidr.engines import prepare
from lidr.engines.base import Completion, FinishReason, Request
from lidr.engines.decoder import Decoder
from lidr.engines.transformers import TransformersEngine
from lidr.errors import LidrError
from lidr.lab.world import problems, render_prompt
from lidr.models import load_model, load_tokenizer
from lidr.paths import BUILTIN_LAB, resolve_model
from tests import tiny
from tests.training.cases import FAMILIES
from tests.training.test_memory import OUT_OF_MEMORY

GREEDY = SamplingConfig(max_new_tokens=24, repetition_penalty=1.1)
SAMPLED = SamplingConfig(max_new_tokens=24, repetition_penalty=1.0, temperature=1.0, top_p=0.9)
BEFORE = (("ab", "cd"), ("e", "fg"))
REQUESTS = [
    Request(f"k{i}", "word " * (i % 5) + str(i), "<t>" if i % 2 else "", before=BEFORE[: i % 3])
    for i in range(11)
]


@pytest.fixture(scope="module")
def chat() -> ChatFormat:
    return ChatFormat(tiny.tokenizer(), None)


@pytest.fixture(scope="module")
def engine(chat: ChatFormat) -> TransformersEngine:
    torch.set_num_threads(1)
    return TransformersEngine(tiny.model(), chat, batch_size=4)


@pytest.fixture(scope="module")
def lab() -> TransformersEngine:
    path = resolve_model(BUILTIN_LAB)
    model = load_model(path, Precision.FP32, torch.device("cpu"))
    return TransformersEngine(model, ChatFormat(load_tokenizer(path), None), batch_size=16)


def answers(batches: Iterable[list[Completion]]) -> dict[str, Completion]:
    found = [c for batch in batches for c in batch]
    assert len({c.key for c in found}) == len(found)
    return {c.key: c for c in found}


def alone(model: PreTrainedModel, chat: ChatFormat, request: Request, sampling: SamplingConfig) -> str:
    """By transformers' own `generate`."""
    ids = torch.tensor([chat.prompt_ids(*request.turn)])
    output = model.generate(  # type: ignore[operator]
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=sampling.max_new_tokens,
        repetition_penalty=sampling.repetition_penalty, do_sample=False, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    return str(chat.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))


def test_answers_are_those_of_plain_generate(engine: TransformersEngine, chat: ChatFormat) -> None:
    found = answers(engine.stream(REQUESTS, GREEDY))
    assert {k: c.text for k, c in found.items()} == {
        r.key: alone(engine.model, chat, r, GREEDY) for r in REQUESTS
    }


@pytest.mark.parametrize(
    "family", ["qwen2", "gemma", "cohere", "gpt2", "mistral", "gemma2", "mistral-window", "bloom"]
)
def test_other_families(family: str, chat: ChatFormat, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lidr.engines.transformers")
    config = copy.deepcopy(FAMILIES[family])
    config.vocab_size, config.pad_token_id, config.bos_token_id, config.eos_token_id = 259, 0, 1, 2
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    sampling = replace(GREEDY, max_new_tokens=12)
    requests = [replace(r, prefill="") for r in REQUESTS[:6]]
    found = answers(TransformersEngine(model, chat, 4).stream(requests, sampling))
    assert {k: c.text for k, c in found.items()} == {r.key: alone(model, chat, r, sampling) for r in requests}
    fixed = family in ("gemma2", "mistral-window", "bloom")
    assert fixed == any("batches of a fixed size" in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize(
    ("sampling", "threads"),
    [(GREEDY, 1), (SAMPLED, 1), (SAMPLED, 2)],
    ids=["greedy", "sampled", "sampled by two threads"],
)
def test_an_answer_does_not_depend_on_what_else_is_answered(
    chat: ChatFormat, sampling: SamplingConfig, threads: int
) -> None:
    """Batches of other sizes, budgets that send rows back, another order, resumed in the middle, alone."""
    torch.set_num_threads(threads)
    try:
        model = tiny.model()
        expected = answers(TransformersEngine(model, chat, 4).stream(REQUESTS, sampling))
        for size, budget in ((1, None), (2, None), (3, 200), (8, 300), (64, None), (64, 1)):
            other = TransformersEngine(model, chat, size, budget)
            assert answers(other.stream(REQUESTS[::-1], sampling)) == expected
            kept = {r.key for r in REQUESTS[: size % len(REQUESTS)]}
            rest = answers(other.stream(REQUESTS, sampling, kept))
            assert rest == {k: c for k, c in expected.items() if k not in kept}
        for request in REQUESTS:
            one = answers(TransformersEngine(model, chat, 4).stream([request], sampling))
            assert one == {request.key: expected[request.key]}
    finally:
        torch.set_num_threads(1)


def test_the_labs_answers_do_not_depend_on_their_batch(lab: TransformersEngine) -> None:
    """Real weights, and answers that end at different times; two threads, as a run would use."""
    torch.set_num_threads(2)
    requests = [
        Request(f"{code}{i}", prompt, opening=prompt[:3])
        for code in ("en", "ru", "zh")
        for i, prompt in enumerate(render_prompt(problem, code) for problem in problems("test")[:16])
    ]
    sampling = SamplingConfig(max_new_tokens=64, repetition_penalty=1.1)
    expected = answers(lab.stream(requests, sampling))
    assert {c.finish_reason for c in expected.values()} == {FinishReason.STOP}
    for size in (5, 48):
        other = TransformersEngine(lab.model, lab.chat, size)
        assert answers(other.stream(requests[::-1], sampling)) == expected
    torch.set_num_threads(1)


def test_every_engine_seed_draws_other_answers(chat: ChatFormat) -> None:
    one, other = (TransformersEngine(tiny.model(), chat, 4, seed=seed) for seed in (0, 1))
    assert answers(one.stream(REQUESTS, SAMPLED)) != answers(other.stream(REQUESTS, SAMPLED))


def test_a_stopped_answer_counts_its_end_of_turn(engine: TransformersEngine) -> None:
    for completion in answers(engine.stream(REQUESTS, SAMPLED)).values():
        assert completion.tokens <= 24
        assert completion.finish_reason is FinishReason.STOP or completion.tokens == 24


def test_a_stop_text_ends_an_answer_and_stays(engine: TransformersEngine) -> None:
    whole = answers(engine.stream(REQUESTS, GREEDY))["k3"]
    stop = whole.text[5:7]
    cut = answers(engine.stream([replace(r, stop=("never", stop)) for r in REQUESTS], GREEDY))["k3"]
    assert cut.text == whole.text[: whole.text.find(stop) + 2]
    assert cut.finish_reason is FinishReason.STOP
    assert cut.tokens < whole.tokens


def test_a_prompt_that_fills_the_context_is_not_answered(
    engine: TransformersEngine, chat: ChatFormat
) -> None:
    """The byte tokenizer's context holds 256: one token of room, and none."""
    around = len(chat.prompt_ids("", ""))
    requests = [*REQUESTS, Request("fits", "x" * (255 - around)), Request("long", "x" * (256 - around))]
    found = answers(engine.stream(requests, GREEDY))
    assert found["long"] == Completion("long", "", FinishReason.TOO_LONG, 0)
    assert found["fits"].tokens == 1
    assert len(found) == len(requests)


def test_no_requests_no_batches(engine: TransformersEngine) -> None:
    assert list(engine.stream([], GREEDY)) == []


def test_requests_are_read_as_they_are_needed(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "WINDOW", 4)
    read = 0

    def lazily() -> Iterator[Request]:
        nonlocal read
        for request in REQUESTS:
            read += 1
            yield request

    batches = engine.stream(lazily(), GREEDY)
    next(batches)
    assert read <= 8
    batches.close()
    assert answers(engine.stream(lazily(), GREEDY)) == answers(engine.stream(REQUESTS, GREEDY))


def test_what_prompts_begin_with_is_computed_once(
    lab: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[int] = []
    forward = Decoder._forward

    def counted(self: Decoder, tokens: torch.Tensor, *rest: object) -> torch.Tensor:
        passed.append(len(tokens))
        return forward(self, tokens, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Decoder, "_forward", counted)
    opening = "add two and three and four and five and six to "
    requests = [Request(str(i), opening + "abcd"[i], opening=opening) for i in range(4)]
    (window,) = prepare.windows(requests, lab.chat, GREEDY, None, frozenset())
    (shared,) = {r.shared for r in window.requests}
    assert shared >= 8
    list(lab.stream(requests, SamplingConfig(max_new_tokens=1, repetition_penalty=1.0)))
    own = [len(r.prompt) - shared for r in window.requests]
    assert shared in passed
    assert sum(own) in passed


def test_a_model_that_answers_otherwise_is_run_by_its_own_code(
    chat: ChatFormat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lidr.engines.transformers")
    wrong = Decoder.step
    monkeypatch.setattr(Decoder, "step", lambda self, cohorts: -wrong(self, cohorts))
    model = tiny.model()
    found = answers(TransformersEngine(model, chat, 4).stream(REQUESTS, GREEDY))
    assert "gives other logits there" in caplog.text
    assert {k: c.text for k, c in found.items()} == {r.key: alone(model, chat, r, GREEDY) for r in REQUESTS}


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_running_out_of_memory_names_the_batch_and_keeps_what_was_answered(
    chat: ChatFormat, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real, steps = Decoder.step, iter(range(99))

    def step(self: Decoder, *asked: Any) -> Any:
        if next(steps) == 40:
            raise error
        return real(self, *asked)

    found: list[Completion] = []
    asked = TransformersEngine(tiny.model(), chat, 4, section="translator.engine")
    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "step", step)
        with pytest.raises(LidrError) as raised:
            found.extend(c for some in asked.stream(REQUESTS, GREEDY) for c in some)
    assert str(raised.value) == (
        "translator.engine.batch_size: memory ran out while up to 4 requests were answered at the same time"
        " -> type translator.engine.batch_size=2: the run goes on from what is answered"
    )
    whole = answers(asked.stream(REQUESTS, GREEDY))
    assert 0 < len(found) < len(REQUESTS)
    assert all(whole[c.key] == c for c in found)


def test_running_out_of_memory_with_one_request_asks_for_more(
    chat: ChatFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Decoder, "step", fail)
    with pytest.raises(LidrError, match=r"up to 1 requests .* -> take a machine with more memory"):
        answers(TransformersEngine(tiny.model(), chat, 1).stream(REQUESTS, GREEDY))
