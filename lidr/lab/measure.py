"""What a lab model does under greedy decoding: accuracy, off-target rate, faithful translations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from lingua import IsoCode639_1, LanguageDetector, LanguageDetectorBuilder
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from lidr.lab.checks import is_correct
from lidr.lab.corpus import LANGUAGE_NAMES, REQUEST
from lidr.lab.tokenizer import ASSISTANT, BOS, USER
from lidr.lab.world import LANGUAGES, Problem, render_answer, render_prompt

OPEN, CLOSE = "<translated>", "</translated>"
MAX_NEW_TOKENS = 64
BATCH = 256


@cache
def _detector() -> LanguageDetector:
    codes = [IsoCode639_1.from_str(language.upper()) for language in LANGUAGES]
    return LanguageDetectorBuilder.from_iso_codes_639_1(*codes).build()


def identify(text: str) -> str | None:
    """The language of a text, of the lab's six, by lingua."""
    language = _detector().detect_language_of(text)
    return language.iso_code_639_1.name.lower() if language is not None else None


@torch.inference_mode()
def complete(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, requests: Sequence[tuple[str, str]]
) -> list[str]:
    """Greedy continuations, in order, of (user message, start of the assistant's turn)."""
    prompts = [
        tokenizer.encode(f"{BOS}{USER}{user}{ASSISTANT}{start}", add_special_tokens=False)
        for user, start in requests
    ]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    texts = [""] * len(prompts)
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        inputs = tokenizer.pad(
            {"input_ids": [prompts[i] for i in rows]}, padding_side="left", return_tensors="pt"
        )
        output = model.generate(  # type: ignore[misc]
            **inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False
        )
        new = output[:, inputs["input_ids"].shape[1] :]
        for i, text in zip(rows, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
            texts[i] = text
    return texts


def translation_of(text: str) -> str | None:
    """The part before the closing tag, or None where the tag is missing."""
    translation, tag, _ = text.partition(CLOSE)
    return translation if tag else None


def answering(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: Sequence[Problem], language: str
) -> dict[str, Any]:
    """Shares of answers that are right, off target, and both right and on target."""
    answers = complete(model, tokenizer, [(render_prompt(p, language), "") for p in problems])
    right = [is_correct(p.answer, text) for p, text in zip(problems, answers, strict=True)]
    on_target = [identify(text) == language for text in answers]
    both = sum(r and t for r, t in zip(right, on_target, strict=True))
    n = len(problems)
    return {
        "accuracy": sum(right) / n,
        "off_target": 1 - sum(on_target) / n,
        "joint": both / n,
        "n": n,
    }


def translating(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    source: str,
    target: str,
) -> dict[str, float]:
    """Shares of answers translated exactly as the parallel one, and without the closing tag."""
    requests = [
        (REQUEST.format(target_language=LANGUAGE_NAMES[target], source=render_answer(p, source)), OPEN)
        for p in problems
    ]
    translations = [translation_of(text) for text in complete(model, tokenizer, requests)]
    exact = sum(t == render_answer(p, target) for p, t in zip(problems, translations, strict=True))
    return {"exact": exact / len(problems), "unclosed": translations.count(None) / len(problems)}


def metrics(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: Sequence[Problem]
) -> dict[str, Any]:
    """All of it, per language and per direction of translation."""
    weaker = [language for language in LANGUAGES if language != "en"]
    directions = [pair for language in weaker for pair in (("en", language), (language, "en"))]
    return {
        "languages": {language: answering(model, tokenizer, problems, language) for language in LANGUAGES},
        "translation": {
            f"{source}-{target}": translating(model, tokenizer, problems, source, target)
            for source, target in directions
        },
    }
