"""y^l: the model answers every prompt in the prompt's language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from lidr.config import SamplingConfig
from lidr.engines.base import Completion, Engine, Request
from lidr.records import Prompt, Response
from lidr.synthesis.read import PromptFile, Records, sample_file
from lidr.synthesis.resume import Item, Job, complete_all

Prompts = Mapping[str, Records[Prompt]]


def generate(prompts: Prompts, engine: Engine, sampling: SamplingConfig, folder: Path) -> int:
    """Writes ``<language>.jsonl`` of responses for every language, in the order of its prompts.

    A killed call goes on where it stopped when called again with the same prompts, and ends with the same
    bytes as one that was never killed, as far as the engine is deterministic.

    Args:
        prompts: by language; lists, or files that are read as they are needed.
        engine: answers them.
        sampling: how.
        folder: where the responses go.

    Returns:
        How many responses there are.

    Raises:
        LidrError: two prompts of a language share an id, a file holds answers to other prompts, or prompts are
            too long for the model.
    """
    jobs = response_jobs(prompts, sampling, folder)
    return complete_all(jobs, engine, f"{folder.parent.name}/{folder.name}")


def response_jobs(prompts: Prompts, sampling: SamplingConfig, folder: Path) -> list[Job]:
    """One file a language."""
    return [_job(records, sampling, folder / f"{language}.jsonl") for language, records in prompts.items()]


def sample_jobs(prompts: Prompts, sampling: SamplingConfig, folder: Path, count: int) -> list[Job]:
    """`count` files a language, ``es-1.jsonl`` and on: another draw of every answer each."""
    return [
        _job(records, sampling, folder / sample_file(language, draw), draw)
        for language, records in prompts.items()
        for draw in range(1, count + 1)
    ]


def _job(prompts: Records[Prompt], sampling: SamplingConfig, path: Path, draw: int = 0) -> Job:
    def items() -> Iterator[Item]:
        for prompt in prompts:
            request = Request(prompt.id, prompt.prompt, draw=draw)
            yield Item(prompt.id, prompt.prompt, request, partial(_response, prompt))

    source, mend = str(path), "leave them out of the prompts of this benchmark"
    if isinstance(prompts, PromptFile):
        source = str(prompts.path)
        mend = f"leave them out of the prompt files and delete {prompts.path.parent.parent}"
    mend += ", or take a model with a longer context: model.path=..."
    return Job(path, items, len(prompts), "prompt", sampling, source, mend)


def _response(prompt: Prompt, completion: Completion | None) -> Response:
    if completion is None:
        raise ValueError(f"a response to {prompt.id!r} needs a completion")
    return Response(
        prompt.id,
        prompt.language,
        prompt.prompt,
        completion.text,
        str(completion.finish_reason),
        completion.tokens,
    )
