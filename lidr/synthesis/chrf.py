"""Similarity of two texts, for the pair strategy that looks for the worst answer."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from lidr.errors import LidrError

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF


def chrf(text: str, reference: str) -> float:
    """chrF of sacrebleu's default (character 6-grams, beta 2), 0 to 100; it needs no word boundaries.

    Raises:
        LidrError: sacrebleu is not installed.
    """
    return float(_metric().sentence_score(text, [reference]).score)


@cache
def _metric() -> CHRF:
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise LidrError(
            "needs sacrebleu", where="pairs.en_rejected=worst", instead="install with: pip install sacrebleu"
        ) from None
    return CHRF()
