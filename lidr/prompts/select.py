"""Which prompts an iteration takes."""

from __future__ import annotations

import random
from collections.abc import Sequence

from lidr.config import PromptSchedule, PromptsConfig
from lidr.errors import LidrError
from lidr.prompts.align import AlignedPrompts
from lidr.records import Prompt


def select(
    aligned: AlignedPrompts, config: PromptsConfig, schedule: PromptSchedule, iteration: int, seed: int
) -> dict[str, list[Prompt]]:
    """The prompts of one iteration, the same ids in the same order in every language.

    ``fresh`` takes the next `config.limit` prompts in each iteration and never one twice; ``reuse`` takes the
    first `config.limit`, or all where there are fewer.

    Args:
        aligned: the whole set.
        config: its limit (prompts an iteration) and whether to shuffle.
        schedule: fresh or reuse.
        iteration: t, from 1.
        seed: of the shuffle; the same in all iterations of a run.

    Raises:
        LidrError: the set runs out of fresh prompts.
    """
    check_enough(aligned, config, schedule, iteration)
    order = _order(len(aligned), config.shuffle, seed)
    start = (iteration - 1) * config.limit if schedule is PromptSchedule.FRESH else 0
    taken = order[start : start + config.limit]
    return {language: [prompts[i] for i in taken] for language, prompts in aligned.by_language.items()}


def check_enough(
    aligned: AlignedPrompts, config: PromptsConfig, schedule: PromptSchedule, iterations: int
) -> None:
    """Whether the set lasts for so many iterations; a run asks before its first.

    Raises:
        LidrError: it does not; names how many there are, how many it takes and what to type.
    """
    there, needed = len(aligned), iterations * config.limit
    if schedule is PromptSchedule.REUSE or there >= needed:
        return
    enough = there // max(iterations, 1)
    lower = f" or prompts.limit={enough}" if enough else ""
    raise LidrError(
        f"has {there} prompts, {needed} are needed: {iterations} x prompts.limit={config.limit}, all fresh",
        where=f"prompts {config.name!r}",
        instead=f"type prompt_schedule=reuse{lower}",
    )


def refuse_conversations(aligned: AlignedPrompts, config: PromptsConfig) -> None:
    """The loop answers single prompts.

    Raises:
        LidrError: a prompt is a list of turns.
    """
    for prompts in aligned.by_language.values():
        found = next((p for p in prompts if p.follow_ups), None)
        if found is not None:
            raise LidrError(
                f"the prompt {found.id!r} is a conversation of {1 + len(found.follow_ups)} turns",
                where=f"prompts {config.name!r}",
                instead="take prompts of one turn; conversations are for benchmarks",
            )


def _order(count: int, shuffle: bool, seed: int) -> Sequence[int]:
    order = list(range(count))
    if shuffle:
        random.Random(f"lidr prompts {seed}").shuffle(order)
    return order
