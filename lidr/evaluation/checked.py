"""What kinds of benchmarks with a right answer have in common: right or not, and in which language."""

from __future__ import annotations

from collections.abc import Sequence

from lidr.evaluation.fidelity import target
from lidr.records import Prompt, Response

GAP_METRICS = ("accuracy", "joint")


def checked(right: bool, prompt: Prompt, response: Response, among: Sequence[str]) -> dict[str, float]:
    """accuracy: right, in whatever language. joint: right, and in the prompt's language."""
    found = target(response.response, prompt.language, among)
    return {
        "accuracy": float(right),
        "off_target": found["off_target"],
        "undetermined": found["undetermined"],
        "joint": float(right and found["on_target"] == 1.0),
        "truncated": float(response.finish_reason == "length"),
    }
