"""The transformers engine against plain `generate`, one request at a time."""

from __future__ import annotations

import pytest
import torch

from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, Request
from lidr.engines.transformers import TransformersEngine
from lidr.errors import LidrError
from tests import tiny

GREEDY = SamplingConfig(max_new_tokens=24, repetition_penalty=1.1)
SAMPLED = SamplingConfig(max_new_tokens=24, repetition_penalty=1.0, temperature=1.0)
REQUESTS = [Request(f"k{i}", "word " * (i % 5) + str(i), "<t>" if i % 2 else "") for i in range(11)]


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    torch.set_num_threads(1)
    return TransformersEngine(tiny.model(), ChatFormat(tiny.tokenizer(), None), batch_size=4)


def answers(batches: object) -> dict[str, Completion]:
    return {c.key: c for batch in batches for c in batch}  # type: ignore[attr-defined]


def test_batches_answer_what_single_requests_answer(engine: TransformersEngine) -> None:
    batched = answers(engine.stream(REQUESTS, GREEDY))
    alone = [answers(engine.stream([r], GREEDY))[r.key] for r in REQUESTS]
    assert [batched[r.key] for r in REQUESTS] == alone


def test_answers_are_those_of_plain_generate(engine: TransformersEngine) -> None:
    for request in REQUESTS[:4]:
        ids = torch.tensor([engine.chat.prompt_ids(request.user, request.prefill)])
        output = engine.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, repetition_penalty=1.1,
            do_sample=False, eos_token_id=2, pad_token_id=0,
        )  # fmt: skip
        expected = engine.chat.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
        assert answers(engine.stream([request], GREEDY))[request.key].text == expected


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
@pytest.mark.parametrize("finished", [0, 3, 4, 6, 11])
def test_a_resumed_stage_draws_the_same(
    engine: TransformersEngine, sampling: SamplingConfig, finished: int
) -> None:
    whole = [c for batch in engine.stream(REQUESTS, sampling) for c in batch]
    kept = {c.key for c in whole[:finished]}
    rest = [c for batch in engine.stream(REQUESTS, sampling, kept) for c in batch]
    assert whole[:finished] + rest == whole


def test_a_stopped_answer_counts_its_end_of_turn(engine: TransformersEngine) -> None:
    for completion in answers(engine.stream(REQUESTS, SAMPLED)).values():
        assert completion.tokens <= 24
        assert completion.finish_reason == "stop" or completion.tokens == 24


def test_a_prompt_beyond_the_context_is_named(engine: TransformersEngine) -> None:
    with pytest.raises(LidrError, match="context holds 256") as error:
        list(engine.stream([*REQUESTS, Request("long", "x" * 300)], GREEDY))
    assert error.value.where == "request 'long'"


def test_no_requests_no_batches(engine: TransformersEngine) -> None:
    assert list(engine.stream([], GREEDY)) == []
