"""The next token: by hand, and against transformers' own processors."""

from __future__ import annotations

import pytest
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


@pytest.mark.parametrize("vocabulary", [259, 256, 49_152, 32_003])
def test_greedy_is_argmax_whatever_the_vocabulary(vocabulary: int) -> None:
    """Few values, so that many are the highest."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(6, (9, vocabulary), generator=generator).float()
    logits[3] = logits[3].clamp(max=1)
    logits[4, -1] = 7
    assert torch.equal(choose(logits, SamplingConfig(1, 1.0), [None] * 9), logits.argmax(-1))


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


@pytest.mark.parametrize("top_p", [1.0, 0.999])
def test_draws_from_a_whole_vocabulary_follow_the_probabilities(top_p: float) -> None:
    """Tokens of several parts: 0.5, 0.3, 0.15, 0.05; one that is impossible is never drawn."""
    logits = torch.full((1024,), -torch.inf)
    logits[[0, 255, 256, 1023]] = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    generator = torch.Generator().manual_seed(3)
    drawn = choose(logits.expand(20_000, -1), SamplingConfig(1, 1.0, 1.0, top_p), [generator] * 20_000)
    shares = drawn.bincount(minlength=1024) / len(drawn)
    expected = torch.tensor([0.5, 0.3, 0.15, 0.05])
    torch.testing.assert_close(shares[[0, 255, 256, 1023]], expected, atol=0.015, rtol=0)
    assert int((shares > 0).sum()) == 4


@given(st.integers(0, 2**31), st.sampled_from([48, 512]))
def test_a_draw_depends_on_its_row_and_its_generator_alone(seed: int, vocabulary: int) -> None:
    logits = 3 * torch.randn(7, vocabulary, generator=torch.Generator().manual_seed(seed))
    sampling = SamplingConfig(1, 1.0, 1.0, 1.0)

    def drawn(rows: list[int]) -> list[int]:
        return choose(logits[rows], sampling, [torch.Generator().manual_seed(row) for row in rows]).tolist()

    together = drawn(list(range(7)))
    assert [drawn([row])[0] for row in range(7)] == together


@pytest.mark.parametrize("spread", [5.0, 0.5])
def test_likely_tokens_are_found_without_ordering_all(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of spread 5 reaches 0.9 with fewer tokens than are put in order first, one of 0.5 with more."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(6, 8192, generator=generator) * torch.tensor([spread, 5.0, 0.5] * 2)[:, None]
    sampling = SamplingConfig(1, 1.0, 1.0, 0.9)

    def drawn() -> list[int]:
        return choose(logits, sampling, [torch.Generator().manual_seed(row) for row in range(6)]).tolist()

    found = drawn()
    monkeypatch.setattr("lidr.engines.choosing._LIKELY", 8192)
    assert found == drawn()
    assert found[0] == choose(logits[:1], sampling, [torch.Generator().manual_seed(0)]).item()
