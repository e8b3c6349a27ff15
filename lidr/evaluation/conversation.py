"""Later turns of a conversation: each is asked after the model's own answers to those before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from lidr.config import SamplingConfig
from lidr.engines.base import Completion, Engine, Request
from lidr.evaluation.outcomes import answered
from lidr.records import Conversation, Prompt, Response
from lidr.synthesis.resume import Item, Job, complete_all

Prompts = Mapping[str, Sequence[Prompt]]


def turns(prompts: Prompts) -> int:
    """The most turns of a prompt."""
    return max((1 + len(p.follow_ups) for own in prompts.values() for p in own), default=1)


def turn_file(folder: Path, language: str, turn: int) -> Path:
    """Where the answers to a turn are, from 1."""
    return folder / (f"{language}.jsonl" if turn == 1 else f"{language}.turn-{turn}.jsonl")


def answer_later_turns(prompts: Prompts, engine: Engine, sampling: SamplingConfig, folder: Path) -> None:
    """Stores the answers to every turn after the first, turn by turn; what stands is not asked again."""
    for turn in range(2, turns(prompts) + 1):
        jobs = [_job(own, turn, sampling, folder, code) for code, own in prompts.items()]
        complete_all(jobs, engine, f"{folder.parent.name}/{folder.name}, turn {turn}")


def transcript(before: Conversation, user: str) -> str:
    """A conversation up to a user's turn, as one text; of the first turn the prompt as it is."""
    if not before:
        return user
    told = "".join(f"User: {asked}\n\nAssistant: {said}\n\n" for asked, said in before)
    return f"{told}User: {user}"


def conversations(
    prompts: Sequence[Prompt], folder: Path, turn: int
) -> Iterator[tuple[Prompt, Conversation]]:
    """The prompts of a turn, each as it is asked: its text the user's turn; with what was said before it.

    Raises:
        LidrError: an answer to an earlier turn is missing.
    """
    asked = [p for p in prompts if len(p.follow_ups) >= turn - 1]
    said: dict[str, list[tuple[str, str]]] = {p.id: [] for p in asked}
    for number in range(1, turn):
        for prompt, response in turn_answers(asked, folder, number):
            said[prompt.id].append((user_turn(prompt, number), response.response))
    for prompt in asked:
        yield prompt, tuple(said[prompt.id])


def turn_answers(prompts: Sequence[Prompt], folder: Path, turn: int) -> list[tuple[Prompt, Response]]:
    """Every prompt that has so many turns, with its stored answer to this one.

    Raises:
        LidrError: an answer is missing, or was given to another text.
    """
    asked = [
        (p, Prompt(p.id, p.language, transcript(before, user_turn(p, turn)), p.answer))
        for p, before in conversations(prompts, folder, turn)
    ]
    if not asked:
        return []
    path = turn_file(folder, asked[0][0].language, turn)
    found = answered([told for _, told in asked], path)
    return [(p, response) for (p, _), (_, response) in zip(asked, found, strict=True)]


def user_turn(prompt: Prompt, turn: int) -> str:
    """What the user says in a turn, from 1."""
    return prompt.prompt if turn == 1 else prompt.follow_ups[turn - 2]


def _job(prompts: Sequence[Prompt], turn: int, sampling: SamplingConfig, folder: Path, language: str) -> Job:
    def items() -> Iterator[Item]:
        for prompt, before in conversations(prompts, folder, turn):
            user = user_turn(prompt, turn)
            told = transcript(before, user)
            yield Item(
                prompt.id, told, Request(prompt.id, user, before=before), partial(_response, prompt, told)
            )

    path, count = turn_file(folder, language, turn), sum(len(p.follow_ups) >= turn - 1 for p in prompts)
    mend = "leave them out of this benchmark, or take a model with a longer context: model.path=..."
    return Job(path, items, count, "prompt", sampling, str(path), mend)


def _response(prompt: Prompt, told: str, completion: Completion | None) -> Response:
    if completion is None:
        raise ValueError(f"a response to {prompt.id!r} needs a completion")
    return Response(
        prompt.id,
        prompt.language,
        told,
        completion.text,
        str(completion.finish_reason),
        completion.tokens,
    )
