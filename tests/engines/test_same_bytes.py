"""What docs/determinism.md promises of the transformers engine: the lab's model, loaded twice, in fp32 and bf16."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lidr.chat import ChatFormat
from lidr.config import Precision, SamplingConfig
from lidr.engines.base import Completion, Request
from lidr.engines.transformers import TransformersEngine
from lidr.lab.world import problems, render_prompt
from lidr.models import load_model, load_tokenizer
from lidr.paths import BUILTIN_LAB, resolve_model

GREEDY = SamplingConfig(max_new_tokens=48, repetition_penalty=1.1)
SAMPLED = SamplingConfig(max_new_tokens=48, repetition_penalty=1.0, temperature=1.0, top_p=0.9)
REQUESTS = [
    Request(f"{code}{i}", render_prompt(problem, code))
    for code in ("en", "ru")
    for i, problem in enumerate(problems("test")[:3])
]


@pytest.fixture(autouse=True)
def one_thread_afterwards() -> Iterator[None]:
    yield
    torch.set_num_threads(1)


def answers(precision: Precision, sampling: SamplingConfig, threads: int, size: int) -> dict[str, Completion]:
    """By an engine of its own."""
    torch.set_num_threads(threads)
    path = resolve_model(BUILTIN_LAB)
    model = load_model(path, precision, torch.device("cpu"))
    own = TransformersEngine(model, ChatFormat(load_tokenizer(path), None), size)
    return {c.key: c for some in own.stream(REQUESTS, sampling) for c in some}


@pytest.mark.parametrize(
    ("precision", "sampling"),
    [(Precision.FP32, SAMPLED), (Precision.BF16, GREEDY), (Precision.BF16, SAMPLED)],
)
def test_the_same_seed_and_threads_are_the_same_answers_in_any_batch(
    precision: Precision, sampling: SamplingConfig
) -> None:
    """Greedy in fp32, with two threads: `test_transformers.py`."""
    assert answers(precision, sampling, 1, 8) == answers(precision, sampling, 1, 3)


def test_other_threads_are_the_same_up_to_rounding() -> None:
    """Where no two tokens are nearly alike the answers are the same: 5 of 6 at least, in fp32."""
    short = SamplingConfig(max_new_tokens=8, repetition_penalty=1.1)
    one, two = (answers(Precision.FP32, short, threads, 6) for threads in (1, 2))
    assert sum(one[key] == two[key] for key in one) >= len(one) - 1
