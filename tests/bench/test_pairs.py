"""Lengths like the paper's, and texts of a wanted length."""

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from experiments.bench import pairs as p
from experiments.bench.gpu_model import TEMPLATE_TOKENS, tokenizer
from lidr.chat import ChatFormat
from lidr.paths import BUILTIN_LAB, resolve_model


@pytest.fixture(scope="module")
def lab_tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(resolve_model(BUILTIN_LAB))


@pytest.fixture(scope="module")
def many() -> list[p.Lengths]:
    return p.draw_lengths(16_000, np.random.default_rng(0))


@pytest.mark.parametrize("language", p.PROMPT_TOKENS)
def test_prompt_lengths_follow_the_measured_quantiles(many: list[p.Lengths], language: str) -> None:
    drawn = [n.prompt for n in many if n.language == language]
    for level, wanted in list(zip(p.LEVELS, p.PROMPT_TOKENS[language], strict=True))[1:-1]:
        assert np.quantile(drawn, level) == pytest.approx(wanted, rel=0.08, abs=1)


def test_responses_have_the_papers_characters(many: list[p.Lengths]) -> None:
    characters = [
        (n.chosen * p.CHARACTERS_PER_TOKEN[n.language], n.rejected * p.CHARACTERS_PER_TOKEN[n.language])
        for n in many
    ]
    chosen, rejected = np.log(np.array(characters)).T
    assert np.exp(chosen).mean() == pytest.approx(1400, rel=0.03)
    assert (chosen - rejected).std() == pytest.approx(p.RATIO_SIGMA, rel=0.05)
    assert np.corrcoef(chosen, rejected)[0, 1] > 0.85


def test_en_and_nl_pairs_in_equal_numbers(many: list[p.Lengths]) -> None:
    counts = {code: sum(n.language == code for n in many) for code in p.PROMPT_TOKENS}
    assert counts == {"en": 8000, "es": 2000, "ru": 2000, "de": 2000, "fr": 2000}


def test_same_seed_same_pairs(lab_tokenizer: PreTrainedTokenizerBase) -> None:
    def made(seed: int) -> list[p.Record]:
        rng = np.random.default_rng(seed)
        return p.paper_like(p.Words(lab_tokenizer), p.draw_lengths(4, rng), rng)

    assert made(1) == made(1) != made(2)


@pytest.mark.parametrize("tokens", [1, 7, 300])
def test_texts_have_the_wanted_length(lab_tokenizer: PreTrainedTokenizerBase, tokens: int) -> None:
    text = p.Words(lab_tokenizer).text(tokens, np.random.default_rng(0))
    length = len(lab_tokenizer(text, add_special_tokens=False)["input_ids"])
    assert tokens <= length <= tokens + 5  # the first word alone may be several tokens


def test_numbered_texts_have_exactly_the_wanted_length() -> None:
    words = 50
    chat = ChatFormat(tokenizer(words), None)
    text = p.Numbered(words).text(20, np.random.default_rng(0))
    assert len(chat.response_ids(text)) == 20 + 1
    assert len(chat.prompt_ids(text)) == 20 + TEMPLATE_TOKENS


def test_lab_pairs_prefer_the_right_answer() -> None:
    first = p.lab_pairs(2, np.random.default_rng(0))[1]
    assert first["language"] == "en"
    right, wrong = (int(first[key].rsplit(" ", 1)[1]) for key in ("chosen", "rejected"))
    assert wrong == right + 10
