"""y^{en->l} and y^{l->en}: the model, or another one, translates its answers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lidr.config import LanguagesConfig, SamplingConfig, TranslatorConfig, TranslatorKind
from lidr.engines.base import Completion, Engine, FinishReason, Request
from lidr.records import Response, Translation
from lidr.synthesis.read import ResponseFile, directions
from lidr.synthesis.resume import Item, Job, complete_all
from lidr.synthesis.tags import Tags, TranslationError


def translate(
    responses_dir: Path, languages: LanguagesConfig, engine: Engine, config: TranslatorConfig, folder: Path
) -> int:
    """Writes ``<source>-<target>.jsonl`` of translations, dominant to each non-dominant language and back.

    Resumes as `lidr.synthesis.generate.generate` does. Responses that are empty or cut off are not sent;
    their records say so, and so do those of responses that are too long for the translator.

    Args:
        responses_dir: ``<language>.jsonl`` of responses.
        languages: the loop's; unseen ones are not translated.
        engine: answers the requests; asked for nothing where nobody translates.
        config: wording, tags and sampling.
        folder: where the translations go.

    Returns:
        How many translations there are.

    Raises:
        LidrError: responses are missing or broken, or a file holds translations of other responses.
    """
    jobs = translation_jobs(responses_dir, languages, config, folder)
    return complete_all(jobs, engine, f"{folder.parent.name}/{folder.name}")


def translation_jobs(
    responses_dir: Path, languages: LanguagesConfig, config: TranslatorConfig, folder: Path
) -> list[Job]:
    """One file a direction."""
    tags = Tags(config)
    return [
        _job(
            ResponseFile(responses_dir / f"{source}.jsonl", source),
            target,
            tags,
            folder / f"{source}-{target}.jsonl",
        )
        for source, target in directions(languages)
    ]


def _job(answers: ResponseFile, target: str, tags: Tags, path: Path) -> Job:
    def items() -> Iterator[Item]:
        for answer in answers:
            request = _request(answer, target, tags)
            yield Item(answer.id, answer.response, request, partial(_translation, answer, target, tags))

    sampling: SamplingConfig = tags.config.sampling
    return Job(path, items, len(answers), "source", sampling, str(answers.path))


def _request(answer: Response, target: str, tags: Tags) -> Request | None:
    """What the translator is asked, None where it need not be."""
    if _unfit(answer) or tags.config.kind is TranslatorKind.NONE:
        return None
    user = tags.request(answer.response, answer.language, target)
    return Request(answer.id, user, tags.config.open_tag, stop=(tags.config.close_tag,))


def _translation(answer: Response, target: str, tags: Tags, completion: Completion | None) -> Translation:
    text: str | None = answer.response
    error = _unfit(answer)
    if completion is not None:
        text, error = tags.parse(completion.text, completion.finish_reason)
    return Translation(
        answer.id,
        answer.language,
        target,
        answer.response,
        None if error else text,
        error.value if error else None,
    )


def _unfit(answer: Response) -> TranslationError | None:
    """Why an answer is not worth sending."""
    if not answer.response.strip():
        return TranslationError.EMPTY_SOURCE
    is_cut = answer.finish_reason == FinishReason.LENGTH
    return TranslationError.TRUNCATED_SOURCE if is_cut else None
