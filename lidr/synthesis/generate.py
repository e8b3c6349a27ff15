"""y^l: the model answers every prompt in the prompt's language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lidr import progress
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, Engine, Request
from lidr.records import Prompt, Response
from lidr.synthesis.resume import Job, check_unique, complete, whole_lines


def generate(
    prompts: Mapping[str, Sequence[Prompt]], engine: Engine, sampling: SamplingConfig, folder: Path
) -> None:
    """Writes ``<language>.jsonl`` of responses for every language, in the order of its prompts.

    A killed call goes on where it stopped when called again with the same prompts, and ends with the same
    bytes as one that was never killed, as far as the engine is deterministic.

    Raises:
        LidrError: two prompts of a language share an id, or a file holds answers to other prompts.
    """
    jobs = {language: folder / f"{language}.jsonl" for language in prompts}
    total = sum(map(len, prompts.values()))
    title = f"{folder.parent.name}/{folder.name}"
    with progress.bar(title, total, sum(map(whole_lines, jobs.values()))) as advance:
        for language, path in jobs.items():
            complete(_job(prompts[language], path), engine, sampling, advance)


def _job(prompts: Sequence[Prompt], path: Path) -> Job:
    check_unique([p.id for p in prompts], str(path))
    by_id = {p.id: p for p in prompts}

    def to_record(completion: Completion) -> Response:
        prompt = by_id[completion.key]
        return Response(
            prompt.id,
            prompt.language,
            prompt.prompt,
            completion.text,
            completion.finish_reason,
            completion.tokens,
        )

    requests = [Request(p.id, p.prompt) for p in prompts]
    return Job(path, {p.id: p.prompt for p in prompts}, "prompt", requests, to_record)
