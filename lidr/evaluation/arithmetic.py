"""Benchmark kind ``arithmetic``: word problems (MGSM, GSM8K), a worked answer's final number against the reference.

An answer without any number is a failed extraction: it counts as wrong, and its rate stands beside the accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lidr.errors import LidrError
from lidr.evaluation.checked import checked
from lidr.evaluation.extraction import extract, reference
from lidr.evaluation.fidelity import lines
from lidr.evaluation.outcomes import Outcome
from lidr.records import Prompt, Response

METRICS = (
    "accuracy",
    "off_target",
    "undetermined",
    "off_target_lines",
    "joint",
    "extraction_failed",
    "truncated",
)


def outcome(prompt: Prompt, response: Response, among: Sequence[str]) -> Outcome:
    """What an answer to a word problem came to.

    accuracy: the number is right, in whatever language the working is. joint: it is, and the working is in the
    prompt's language. extraction_failed: the answer holds no number.

    Raises:
        LidrError: the prompt carries no number as its answer.
    """
    found = extract(response.response, prompt.language)
    right = found is not None and found.value == number(prompt)
    values = checked(right, prompt, response, among) | lines(response.response, prompt.language, among)
    return Outcome(prompt.id, prompt.language, values | {"extraction_failed": float(found is None)})


def number(prompt: Prompt) -> Fraction:
    """The right answer of a prompt.

    Raises:
        LidrError: it has none, or it is no number.
    """
    try:
        return reference(prompt.answer or "")
    except ValueError:
        raise LidrError(
            f"the prompt's answer {prompt.answer!r} is no number",
            where=f"{prompt.language} {prompt.id}",
            instead="name the key of the numbers in evaluation.<name>.prompts.answer_key, or type kind: fidelity",
        ) from None
