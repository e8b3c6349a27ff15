"""The next token of each row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lidr.config import SamplingConfig


def penalise(
    logits: Float[Tensor, "rows vocabulary"], tokens: Int[Tensor, "rows seen"], penalty: float
) -> Float[Tensor, "rows vocabulary"]:
    """Makes tokens of the prompt and the answer so far less likely (arXiv 1909.05858, section 4.1), in place.

    As in transformers and vLLM: a positive logit is divided by the penalty, a negative one multiplied with it.

    Args:
        tokens: those of each row, in any order, as often as one likes.
    """
    if penalty == 1:
        return logits
    seen = logits.gather(1, tokens)
    return logits.scatter_(1, tokens, torch.where(seen < 0, seen * penalty, seen / penalty))


def choose(
    logits: Float[Tensor, "rows vocabulary"],
    sampling: SamplingConfig,
    generators: Sequence[torch.Generator | None],
) -> Int[Tensor, " rows"]:
    """The most likely token of each row, or one drawn with the row's own generator."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits / sampling.temperature, -1)
    ordered, ids = probabilities.sort(stable=True, dim=-1, descending=True)
    summed = ordered.cumsum(-1)
    kept = summed - ordered < sampling.top_p  # the tokens it takes to reach top_p, one at least
    kept[:, 0] = True
    total = (ordered * kept).sum(-1)
    draws = torch.stack([torch.rand((), generator=g) for g in generators]).to(logits.device)
    place = torch.searchsorted(summed, (draws * total)[:, None], right=True)
    place = place.minimum(kept.sum(-1, keepdim=True) - 1)
    drawn: Tensor = ids.gather(1, place)[:, 0]
    return drawn
