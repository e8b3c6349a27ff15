"""MAPO's measure of agreement: how likely y^en is as the translation of each answer in another language."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from lidr.config import LanguagesConfig, PairsConfig, TranslatorConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.records import Response, Score
from lidr.synthesis.read import ResponseFile, sample_file, samples
from lidr.synthesis.resume import Item, Job
from lidr.synthesis.tags import Tags, TranslationError
from lidr.synthesis.translate import unfit


class ScoreError(StrEnum):
    """Why an answer has no score: it, or the dominant language's one, is blank or cut off, or they are too long."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    DOMINANT_EMPTY = "dominant answer empty"
    DOMINANT_TRUNCATED = "dominant answer truncated"
    TOO_LONG = "too long"
    NOT_A_NUMBER = "not a number"


_OWN = {
    TranslationError.EMPTY_SOURCE: ScoreError.EMPTY,
    TranslationError.TRUNCATED_SOURCE: ScoreError.TRUNCATED,
}
_DOMINANT = {
    TranslationError.EMPTY_SOURCE: ScoreError.DOMINANT_EMPTY,
    TranslationError.TRUNCATED_SOURCE: ScoreError.DOMINANT_TRUNCATED,
}


def score_jobs(
    responses_dir: Path,
    samples_dir: Path,
    languages: LanguagesConfig,
    strategy: PairsConfig,
    translator: TranslatorConfig,
    folder: Path,
) -> list[Job]:
    """``es-0.jsonl`` of the model's own answers and ``es-1.jsonl`` and on of the drawn ones, for each language.

    A score is log p(y^en </translated> | request to translate y^l, <translated>) over its tokens, nats a token, by
    the model that translates (arXiv 2401.06838, section 3.1, with a chat model in place of NLLB).

    Args:
        responses_dir: ``<language>.jsonl`` of the model's own answers.
        samples_dir: ``<language>-<sample>.jsonl`` of the drawn ones.
        folder: where the scores go.
    """
    tags = Tags(translator)
    dominant = ResponseFile(responses_dir / f"{languages.dominant}.jsonl", languages.dominant)
    found = []
    for code, sample in samples(languages, strategy):
        path = samples_dir / sample_file(code, sample) if sample else responses_dir / f"{code}.jsonl"
        source = _Source(dominant, ResponseFile(path, code), sample, tags)
        found.append(
            Job(
                folder / sample_file(code, sample),
                source.items,
                len(source.answers),
                "source",
                translator.sampling,
                str(path),
            )
        )
    return found


@dataclass(frozen=True)
class _Source:
    """The answers of a file, beside those of the dominant language."""

    dominant: ResponseFile
    answers: ResponseFile
    sample: int
    tags: Tags

    def items(self) -> Iterator[Item]:
        for wanted, answer in zip(self.dominant, self.answers, strict=True):
            error = _unfit(wanted, answer)
            request = None if error else self._request(wanted, answer)
            yield Item(answer.id, answer.response, request, partial(self._record, answer, error))

    def _request(self, wanted: Response, answer: Response) -> Request:
        tags = self.tags
        user = tags.request(answer.response, answer.language, wanted.language)
        label = tags.guard(wanted.response) + tags.config.close_tag
        return Request(answer.id, user, tags.config.open_tag, labels=(label,))

    def _record(self, answer: Response, error: ScoreError | None, completion: Completion | None) -> Score:
        score, tokens = None, 0
        if completion is not None and completion.finish_reason is FinishReason.TOO_LONG:
            error = ScoreError.TOO_LONG
        elif completion is not None:
            score, tokens = sum((completion.log_probs or {}).values()) / completion.tokens, completion.tokens
            if not math.isfinite(score):
                score, error = None, ScoreError.NOT_A_NUMBER
        return Score(
            answer.id,
            answer.language,
            self.sample,
            answer.response,
            score,
            tokens,
            error.value if error else None,
        )


def _unfit(wanted: Response, answer: Response) -> ScoreError | None:
    theirs, own = unfit(wanted), unfit(answer)
    if theirs is not None:
        return _DOMINANT[theirs]
    return None if own is None else _OWN[own]
