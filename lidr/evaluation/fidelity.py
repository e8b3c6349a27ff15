"""Benchmark kind ``fidelity``: is the answer in the prompt's language, and is it a whole answer at all.

on_target + off_target + undetermined = 1: a text whose language cannot be told (a number, code, a name) is
counted apart and never as off target. The rates depend on the detector; results name it.
"""

from __future__ import annotations

from collections.abc import Sequence

from lidr.evaluation.outcomes import Outcome
from lidr.identification import identify, identify_lines
from lidr.records import Prompt, Response

METRICS = (
    "on_target",
    "off_target",
    "undetermined",
    "off_target_lines",
    "empty",
    "truncated",
    "characters",
    "tokens",
)
UNBOUNDED = ("characters", "tokens")


def outcome(prompt: Prompt, response: Response, among: Sequence[str]) -> Outcome:
    """What an answer to an open prompt came to; characters and tokens are its length."""
    text = response.response
    values = (
        target(text, prompt.language, among)
        | lines(text, prompt.language, among)
        | {
            "empty": float(not text.strip()),
            "truncated": float(response.finish_reason == "length"),
            "characters": float(len(text)),
            "tokens": float(response.tokens),
        }
    )
    return Outcome(prompt.id, prompt.language, values)


def target(text: str, language: str, among: Sequence[str]) -> dict[str, float]:
    """Which of on_target, off_target and undetermined a text is, among the languages of the run."""
    found = identify(text, among)
    return {
        "on_target": float(found == language),
        "off_target": float(found is not None and found != language),
        "undetermined": float(found is None),
    }


def lines(text: str, language: str, among: Sequence[str]) -> dict[str, float]:
    """The share of lines in another language than the prompt's, of those whose language can be told; {} without any."""
    told = [found for found in identify_lines(text, among) if found is not None]
    return {"off_target_lines": sum(found != language for found in told) / len(told)} if told else {}
