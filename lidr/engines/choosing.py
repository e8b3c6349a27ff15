"""The next token of each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lidr.config import SamplingConfig

_PART, _SMALLEST_PART = 256, 16  # tokens of a vocabulary that are looked at together
_LIKELY = 512  # tokens that are put in order first


def penalise(
    logits: Float[Tensor, "rows vocabulary"], tokens: Int[Tensor, "rows seen"], penalty: float
) -> Float[Tensor, "rows vocabulary"]:
    """Makes tokens of the prompt and the answer so far less likely (arXiv 1909.05858, section 4.1), in place.

    As in transformers and vLLM: a positive logit is divided by the penalty, a negative one multiplied with it.

    Args:
        tokens: those of each row, in any order, as often as one likes.
    """
    seen = logits.gather(1, tokens)
    return logits.scatter_(1, tokens, torch.where(seen < 0, seen * penalty, seen / penalty))


def choose(
    logits: Float[Tensor, "rows vocabulary"],
    sampling: SamplingConfig,
    generators: Sequence[torch.Generator | None],
) -> Int[Tensor, " rows"]:
    """The most likely token of each row, the first of several, or one drawn with the row's own generator."""
    if sampling.temperature == 0:
        return _highest(logits)
    probabilities = torch.softmax(logits / sampling.temperature, -1)
    draws = torch.stack([torch.rand((), generator=g) for g in generators]).to(logits.device)[:, None]
    return (
        _of_all(probabilities, draws)
        if sampling.top_p >= 1
        else _of_likely(probabilities, draws, sampling.top_p)
    )


def _highest(logits: Tensor) -> Tensor:
    """As argmax, whose kernel on a CPU takes ten times as long as the highest value of each part."""
    parts = _parts(logits)
    if logits.device.type != "cpu" or parts.shape[1] == 1:
        return logits.argmax(-1)
    part = parts.amax(-1).argmax(-1, keepdim=True)
    return (part * parts.shape[2])[:, 0] + _taken(parts, part).argmax(-1)


def _of_all(probabilities: Tensor, draws: Float[Tensor, "rows 1"]) -> Tensor:
    """The tokens in whose share of all probability the draws fall: first the part, then the token in it."""
    parts = _parts(probabilities)
    sums = parts.sum(-1)
    summed = sums.cumsum(-1)
    target = draws * summed[:, -1:]
    part = _place(summed, target)
    within = (target - (summed - sums).gather(1, part)).clamp_(min=0)
    return (part * parts.shape[2] + _place(_taken(parts, part).cumsum(-1), within))[:, 0]


def _of_likely(probabilities: Tensor, draws: Float[Tensor, "rows 1"], top_p: float) -> Tensor:
    """The same among the most likely tokens that it takes to reach top_p (arXiv 1904.09751, section 3.1).

    Few tokens reach it for most rows; to put a whole vocabulary in order takes longer than a pass of a small model.
    """
    ordered, ids = probabilities.topk(min(_LIKELY, probabilities.shape[1]))
    drawn, reached = _in_order(ordered, draws, top_p)
    found = ids.gather(1, drawn)[:, 0]
    if ids.shape[1] < probabilities.shape[1] and not bool(reached.all()):
        rest = ~reached
        ordered, ids = probabilities[rest].sort(stable=True, dim=-1, descending=True)
        found[rest] = ids.gather(1, _in_order(ordered, draws[rest], top_p)[0])[:, 0]
    return found


def _in_order(ordered: Tensor, draws: Float[Tensor, "rows 1"], top_p: float) -> tuple[Tensor, Tensor]:
    """The places that are drawn, (rows, 1), among the first that reach top_p; and whether they do, (rows,)."""
    summed = ordered.cumsum(-1)
    before = summed - ordered < top_p
    before[:, 0] = True
    last = before.sum(-1, keepdim=True) - 1
    place = torch.searchsorted(summed, draws * summed.gather(1, last), right=True)
    return place.minimum(last), summed[:, -1] >= top_p


def _parts(values: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, "rows parts part"]:
    return values.reshape(len(values), -1, _size(values.shape[1]))


@cache
def _size(vocabulary: int) -> int:
    """Of the parts of a vocabulary, whole where it has no divisor that is worth it."""
    size = math.gcd(vocabulary, _PART)
    return size if size >= _SMALLEST_PART else vocabulary


def _taken(parts: Tensor, part: Int[Tensor, "rows 1"]) -> Float[Tensor, "rows part"]:
    return parts.take_along_dim(part[..., None], 1)[:, 0]


def _place(summed: Float[Tensor, "rows sums"], target: Float[Tensor, "rows 1"]) -> Int[Tensor, "rows 1"]:
    """The first sum above the target; where rounding leaves none, the first that is the whole."""
    last = torch.searchsorted(summed, summed[:, -1:].contiguous())
    return torch.searchsorted(summed, target, right=True).minimum(last)
