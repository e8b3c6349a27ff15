"""The next token: by hand, and against transformers' own processors."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor, TopPLogitsWarper

from lidr.config import SamplingConfig
from lidr.engines.choosing import choose, penalise


def test_the_penalty_by_hand() -> None:
    """2 / 2 = 1 and -1 * 2 = -2 for tokens that were seen, however often; others stay."""
    logits = torch.tensor([[2.0, -1.0, 3.0]])
    assert penalise(logits, torch.tensor([[0, 1, 0]]), 2.0).tolist() == [[1.0, -2.0, 3.0]]


@given(st.integers(0, 2**31), st.floats(1.0, 3.0))
def test_the_penalty_is_that_of_transformers(seed: int, penalty: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 17, generator=generator)
    tokens = torch.randint(17, (3, 9), generator=generator)
    expected = RepetitionPenaltyLogitsProcessor(penalty)(tokens, logits.clone())
    assert torch.equal(penalise(logits.clone(), tokens, penalty), expected)


def test_greedy_is_the_first_of_the_highest() -> None:
    logits = torch.tensor([[1.0, 3.0, 3.0], [0.0, -1.0, -2.0]])
    assert choose(logits, SamplingConfig(1, 1.0), [None, None]).tolist() == [1, 0]


@given(st.integers(0, 2**31), st.floats(0.05, 1.0), st.floats(0.2, 2.0))
def test_only_tokens_that_transformers_would_keep_are_drawn(
    seed: int, top_p: float, temperature: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(4, 11, generator=generator)
    scaled = logits / temperature
    allowed = TopPLogitsWarper(min(top_p, 0.999))(torch.zeros(4, 1, dtype=torch.long), scaled).isfinite()
    sampling = SamplingConfig(1, 1.0, temperature, min(top_p, 0.999))
    drawn = choose(logits, sampling, [generator] * 4)
    near = (allowed.sum(-1) - 0).tolist()
    for row, token in enumerate(drawn.tolist()):
        rank = int((scaled[row] > scaled[row, token]).sum())
        assert allowed[row, token] or rank == near[row]  # rounding of the sum may move the edge by one


def test_draws_follow_the_probabilities() -> None:
    """40,000 draws from 0.5, 0.3, 0.15, 0.05 cut at 0.9: 0.526, 0.316, 0.158, 0; standard error 0.0025."""
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(40_000, -1)
    generator = torch.Generator().manual_seed(3)
    drawn = choose(logits, SamplingConfig(1, 1.0, 1.0, 0.9), [generator] * len(logits))
    shares = drawn.bincount(minlength=4) / len(drawn)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.15, 0.0]) / 0.95, atol=0.01, rtol=0)
    assert shares[3] == 0
