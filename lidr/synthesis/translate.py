"""y^{en->l} and y^{l->en}: the model, or another one, translates its answers, and in one control back again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lidr.config import LanguagesConfig, PairControl, SamplingConfig, TranslatorConfig, TranslatorKind
from lidr.engines.base import Completion, Engine, FinishReason, Request
from lidr.records import Response, Translation
from lidr.synthesis.read import ResponseFile, Route, file_name, routes, translations
from lidr.synthesis.resume import Item, Job, complete_all
from lidr.synthesis.tags import Tags, TranslationError


def translate(
    responses_dir: Path,
    languages: LanguagesConfig,
    engine: Engine,
    config: TranslatorConfig,
    folder: Path,
    control: PairControl | None = None,
) -> int:
    """Writes ``<source>-<target>.jsonl`` of translated responses, between the dominant and each other language.

    For `PairControl.ROUND_TRIP` also ``<source>-<target>-<source>.jsonl``, of these translations translated back.
    Resumes as `lidr.synthesis.generate.generate` does. Responses that are empty or cut off are not sent, nor is a
    translation that failed; their records say so, and so do those of texts that are too long for the translator.

    Args:
        responses_dir: ``<language>.jsonl`` of responses.
        languages: the loop's; unseen ones are not translated.
        engine: answers the requests; asked for nothing where nobody translates.
        config: wording, tags and sampling.
        folder: where the translations go.
        control: of the pairs that are made of them.

    Returns:
        How many translations there are.

    Raises:
        LidrError: responses are missing or broken, or a file holds translations of other texts.
    """
    jobs = translation_jobs(responses_dir, languages, config, folder, control)
    return complete_all(jobs, engine, f"{folder.parent.name}/{folder.name}")


def translation_jobs(
    responses_dir: Path,
    languages: LanguagesConfig,
    config: TranslatorConfig,
    folder: Path,
    control: PairControl | None,
) -> list[Job]:
    """One file a route; those back come last."""
    tags = Tags(config)
    return [_job(route, responses_dir, tags, folder) for route in routes(languages, control)]


@dataclass(frozen=True)
class _Source:
    """A text to translate. unfit: why it is not sent."""

    id: str
    language: str
    text: str
    unfit: TranslationError | None


def _job(route: Route, responses_dir: Path, tags: Tags, folder: Path) -> Job:
    """The translations into the last language of a route, of answers or of what came so far."""
    answers, is_back = ResponseFile(responses_dir / f"{route[0]}.jsonl", route[0]), len(route) > 2
    target, there = route[-1], folder / file_name(route[:-1])

    def items() -> Iterator[Item]:
        read = map(_translated, translations(there, *route[-3:-1])) if is_back else map(_answered, answers)
        for text in read:
            yield Item(text.id, text.text, _request(text, target, tags), partial(_record, text, target, tags))

    sampling: SamplingConfig = tags.config.sampling
    source = str(there if is_back else answers.path)
    return Job(folder / file_name(route), items, len(answers), "source", sampling, source, is_second=is_back)


def _answered(answer: Response) -> _Source:
    return _Source(answer.id, answer.language, answer.response, unfit(answer))


def _translated(record: Translation) -> _Source:
    text = record.translation or ""
    failed = None if text.strip() else TranslationError.SOURCE_FAILED
    return _Source(record.id, record.target_language, text, failed)


def _request(source: _Source, target: str, tags: Tags) -> Request | None:
    """What the translator is asked, None where it need not be."""
    if source.unfit or tags.config.kind is TranslatorKind.NONE:
        return None
    user = tags.request(source.text, source.language, target)
    return Request(source.id, user, tags.config.open_tag, stop=(tags.config.close_tag,))


def _record(source: _Source, target: str, tags: Tags, completion: Completion | None) -> Translation:
    text: str | None = source.text
    error = source.unfit
    if completion is not None:
        text, error = tags.parse(completion.text, completion.finish_reason)
    return Translation(
        source.id,
        source.language,
        target,
        source.text,
        None if error else text,
        error.value if error else None,
    )


def unfit(answer: Response) -> TranslationError | None:
    """Why an answer is not worth sending."""
    if not answer.response.strip():
        return TranslationError.EMPTY_SOURCE
    is_cut = answer.finish_reason == FinishReason.LENGTH
    return TranslationError.TRUNCATED_SOURCE if is_cut else None
