"""Benchmark kind ``lab``: answers to arithmetic stories, checked exactly.

The world is synthetic: its numbers say nothing about real language ability.
"""

from __future__ import annotations

from collections.abc import Sequence

from lidr.errors import LidrError
from lidr.evaluation.checked import checked
from lidr.evaluation.outcomes import Outcome
from lidr.lab.checks import is_correct
from lidr.records import Prompt, Response

METRICS = ("accuracy", "off_target", "undetermined", "joint", "truncated")


def outcome(prompt: Prompt, response: Response, among: Sequence[str]) -> Outcome:
    """What an answer to a lab problem came to.

    accuracy: the number is right, in whatever language. joint: it is, and in the prompt's language.

    Raises:
        LidrError: the prompt carries no whole number as its answer.
    """
    right = is_correct(number(prompt), response.response)
    return Outcome(prompt.id, prompt.language, checked(right, prompt, response, among))


def number(prompt: Prompt) -> int:
    """The right answer of a prompt.

    Raises:
        LidrError: it has none, or no whole number.
    """
    try:
        return int(prompt.answer or "")
    except ValueError:
        raise LidrError(
            f"the prompt's answer {prompt.answer!r} is no whole number",
            where=f"{prompt.language} {prompt.id}",
            instead="kind: fidelity needs no answers",
        ) from None
