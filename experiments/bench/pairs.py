"""Preference pairs for the benchmark: lengths like the paper's, texts of a wanted number of tokens.

Lengths. Prompts follow quantiles measured on the official Alpagasus prompts (ids 0-999, tokens of SmolLM2),
so the bench needs no data file. Responses follow the paper's answers, about 1,400 characters on average,
turned into tokens with each language's characters per token; what is longer than max_length the trainers cut.

Texts. A text of n tokens is n words drawn from the tokenizer's own vocabulary, each of which is one token
after a space. The words have no meaning: time and memory depend on the number of tokens, not on which.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from lidr.lab.world import Problem, problems, render_answer, render_prompt, render_solution

DOMINANT = "en"
NON_DOMINANT = ("es", "ru", "de", "fr")
LEVELS = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
PROMPT_TOKENS: Mapping[str, tuple[int, ...]] = {
    "en": (6, 8, 9, 10, 11, 13, 14, 16, 21, 32),
    "es": (12, 15, 18, 20, 22, 24, 26, 30, 37, 57),
    "ru": (25, 32, 38, 41, 46, 51, 56, 63, 78, 117),
    "de": (15, 19, 22, 24, 26, 29, 31, 36, 43, 67),
    "fr": (13, 16, 18, 20, 22, 25, 27, 31, 38, 56),
}
CHARACTERS_PER_TOKEN = {"en": 4.73, "es": 2.89, "ru": 1.28, "de": 2.64, "fr": 2.90}
LLAMA3_CHARACTERS_PER_TOKEN = {"en": 4.5, "es": 3.6, "ru": 2.4, "de": 3.4, "fr": 3.5}
RESPONSE_CHARACTERS, RESPONSE_SIGMA, RATIO_SIGMA = 1400, 0.6, 0.25
CHECK_LENGTHS = ((12, 22, 30), (20, 34, 18), (9, 54, 40), (15, 61, 52))

Record = dict[str, str]


@dataclass(frozen=True)
class Lengths:
    """Tokens of a pair's texts, without the chat template's own."""

    language: str
    prompt: int
    chosen: int
    rejected: int


def draw_lengths(
    count: int,
    rng: np.random.Generator,
    characters_per_token: Mapping[str, float] = CHARACTERS_PER_TOKEN,
) -> list[Lengths]:
    """`count` pairs: nl pairs and en pairs in turn, the nl pairs' languages in turn in a drawn order.

    Prompts are scaled from SmolLM2's tokens to those of `characters_per_token`.
    """
    order = [str(code) for code in rng.permutation(NON_DOMINANT)]
    languages = [order[i // 2 % len(order)] if i % 2 == 0 else DOMINANT for i in range(count)]
    return [_draw(language, rng, characters_per_token) for language in languages]


def _draw(language: str, rng: np.random.Generator, characters_per_token: Mapping[str, float]) -> Lengths:
    scale = CHARACTERS_PER_TOKEN[language] / characters_per_token[language]
    prompt = float(np.interp(rng.uniform(), LEVELS, PROMPT_TOKENS[language])) * scale
    mu = math.log(RESPONSE_CHARACTERS) - RESPONSE_SIGMA**2 / 2
    characters = rng.lognormal(mu, RESPONSE_SIGMA)
    ratio = math.sqrt(rng.lognormal(0.0, RATIO_SIGMA))
    chosen, rejected = (c / characters_per_token[language] for c in (characters * ratio, characters / ratio))
    return Lengths(language, *(max(1, round(n)) for n in (prompt, chosen, rejected)))


class Words:
    """Words of a vocabulary that are one token each after a space."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        found = sorted({t[1:] for t in tokenizer.get_vocab() if t.startswith("Ġ") and _plain(t[1:])})
        encoded = tokenizer([f" {word}" for word in found], add_special_tokens=False)["input_ids"]
        self.words = [word for word, ids in zip(found, encoded, strict=True) if len(ids) == 1]

    def text(self, tokens: int, rng: np.random.Generator) -> str:
        """About `tokens` tokens: the first word has no space before it and may be two or three."""
        return " ".join(self.words[i] for i in rng.integers(len(self.words), size=tokens))


def _plain(word: str) -> bool:
    return len(word) > 2 and word.isascii() and word.isalpha() and word.islower()


class Numbered:
    """Texts of words `w0`, `w1`, ... that a word-level tokenizer maps to any token id."""

    def __init__(self, words: int) -> None:
        self.words = words

    def text(self, tokens: int, rng: np.random.Generator) -> str:
        """Exactly `tokens` tokens."""
        return " ".join(f"w{i}" for i in rng.integers(self.words, size=tokens))


def paper_like(words: Words | Numbered, lengths: Sequence[Lengths], rng: np.random.Generator) -> list[Record]:
    """Pairs with texts of these lengths."""
    return [
        _record(
            i, n.language, words.text(n.prompt, rng), words.text(n.chosen, rng), words.text(n.rejected, rng)
        )
        for i, n in enumerate(lengths)
    ]


def check_pairs(words: Words, rng: np.random.Generator) -> list[Record]:
    """Four short pairs of unlike lengths, one a language, so that a log per language is a log per pair."""
    lengths = [Lengths(code, *n) for code, n in zip(NON_DOMINANT, CHECK_LENGTHS, strict=True)]
    return paper_like(words, lengths, rng)


def lab_pairs(count: int, rng: np.random.Generator) -> list[Record]:
    """Pairs of the lab: the right answer against one that is off by ten, in all its trained languages."""
    train = problems("train")
    records = []
    for i, index in enumerate(rng.integers(len(train), size=count)):
        problem = train[index]
        language = NON_DOMINANT[i // 2 % len(NON_DOMINANT)] if i % 2 == 0 else DOMINANT
        records.append(_lab_record(i, problem, language))
    return records


def lab_check_pairs(rng: np.random.Generator) -> list[Record]:
    """Four pairs of the lab, one a language."""
    train = problems("train")
    drawn = rng.integers(len(train), size=len(NON_DOMINANT))
    return [_lab_record(i, train[drawn[i]], language) for i, language in enumerate(NON_DOMINANT)]


def _lab_record(number: int, problem: Problem, language: str) -> Record:
    numbers = problem.numbers
    wrong = numbers._replace(result=numbers.result + 10)
    rejected = render_solution(problem.skill, wrong, problem.thing, language)
    return _record(
        number, language, render_prompt(problem, language), render_answer(problem, language), rejected
    )


def _record(number: int, language: str, prompt: str, chosen: str, rejected: str) -> Record:
    nl = language != DOMINANT
    return {
        "id": f"bench-{number}",
        "language": language,
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "chosen_origin": f"{DOMINANT}->{language}" if nl else DOMINANT,
        "rejected_origin": language if nl else f"es->{DOMINANT}",
    }


def write(path: Path, records: Sequence[Record]) -> Path:
    """Writes pairs.jsonl."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    return path


def read(path: Path) -> list[Record]:
    """Reads pairs.jsonl."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
