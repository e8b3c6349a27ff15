"""y^{en->l} and y^{l->en}: the model translates its own answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lidr import progress
from lidr.config import LanguagesConfig, TranslatorConfig
from lidr.engines.base import Completion, Engine, Request
from lidr.records import Response, Translation
from lidr.synthesis.read import directions, responses
from lidr.synthesis.resume import Job, check_unique, complete, whole_lines
from lidr.synthesis.tags import Tags, TranslationError


def translate(
    responses_dir: Path, languages: LanguagesConfig, engine: Engine, config: TranslatorConfig, folder: Path
) -> None:
    """Writes ``<source>-<target>.jsonl`` of translations, dominant to each non-dominant language and back.

    Resumes as `lidr.synthesis.generate.generate` does. Responses that are empty or cut off are not sent;
    their records say so.

    Args:
        responses_dir: ``<language>.jsonl`` of responses.
        languages: the loop's; unseen ones are not translated.
        engine: answers the requests.
        config: wording, tags and sampling.
        folder: where the translations go.

    Raises:
        LidrError: responses are missing or broken, or a file holds translations of other responses.
    """
    tags = Tags(config)
    paths = {pair: folder / f"{pair[0]}-{pair[1]}.jsonl" for pair in directions(languages)}
    total = sum(whole_lines(responses_dir / f"{source}.jsonl") for source, _ in paths)
    title = f"{folder.parent.name}/{folder.name}"
    with progress.bar(title, total, sum(map(whole_lines, paths.values()))) as advance:
        for (source, target), path in paths.items():
            answers = list(responses(responses_dir / f"{source}.jsonl", source))
            complete(_job(answers, target, tags, path), engine, config.sampling, advance)


def _job(answers: Sequence[Response], target: str, tags: Tags, path: Path) -> Job:
    check_unique([a.id for a in answers], str(path))
    by_id = {a.id: a for a in answers}

    def to_record(completion: Completion) -> Translation:
        return _record(by_id[completion.key], target, *tags.parse(completion.text, completion.finish_reason))

    sent = [a for a in answers if not _unfit(a)]
    requests = [
        Request(a.id, tags.request(a.response, a.language, target), tags.config.open_tag) for a in sent
    ]
    given = [_record(a, target, None, error) for a in answers if (error := _unfit(a))]
    return Job(path, {a.id: a.response for a in answers}, "source", requests, to_record, given)


def _unfit(answer: Response) -> TranslationError | None:
    """Why an answer is not worth sending."""
    if not answer.response.strip():
        return TranslationError.EMPTY_SOURCE
    return TranslationError.TRUNCATED_SOURCE if answer.finish_reason == "length" else None


def _record(
    answer: Response, target: str, translation: str | None, error: TranslationError | None
) -> Translation:
    reason = None if error is None else error.value
    return Translation(answer.id, answer.language, target, answer.response, translation, reason)
