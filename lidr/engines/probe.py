"""Whether a model says the same with the engine's attention as with its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lidr.attention_interface import base_model
from lidr.engines.cohort import NO_PREFIX, Cohort
from lidr.engines.decoder import Decoder
from lidr.engines.graphs import GraphDecoder, has_graphs
from lidr.memory import ran_out

_TOKENS = 96
# Largest distance between two logits, as a share of their spread. Rounding gives about 1e-6 and 1e-2.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}


class Probe(NamedTuple):
    """What was found.

    problem: what differs, or None.
    bytes_per_token: of keys and values, all layers.
    """

    problem: str | None
    bytes_per_token: int


@torch.inference_mode()
def disagreement(model: PreTrainedModel, prompts: Sequence[Sequence[int]], attention: str) -> Probe:
    """Compares logits after two prompts, and after a token more, with those of the model's own attention.

    Args:
        prompts: of which the beginnings are taken.
        attention: the model's own implementation; the engine's is in place afterwards.
    """
    pair = [list(prompts[0][:_TOKENS]), list(prompts[-1][: _TOKENS // 2])]
    one_more = [[*ids, ids[-1]] for ids in pair]
    base_model(model).set_attn_implementation(attention)
    expected = [_own(model, ids) for ids in (*pair, *one_more)]
    decoder = _decoder(model)
    try:
        cohort, first = decoder.admit(pair, [NO_PREFIX, NO_PREFIX])
        cohort.begin([ids[-1] for ids in pair])
        found = torch.cat([first, decoder.step([decoder.settled(cohort).queries()])])
    except Exception as error:  # whatever the model's own code raises
        if ran_out(error):
            raise
        message = (str(error).splitlines() or [type(error).__name__])[0]
        return Probe(f"{_name(model)} cannot run the engine's passes ({message})", 1)
    off = max(_distance(a, b) for a, b in zip(found, expected, strict=True))
    if not off <= _TOLERANCE.get(model.dtype, 0.1):
        return Probe(f"{_name(model)} gives other logits there (off by {off:.2g} of their spread)", 1)
    return Probe(None, _bytes_per_token(cohort))


def _decoder(model: PreTrainedModel) -> Decoder:
    """As it will be asked, for the two prompts."""
    if has_graphs(model.device):
        return GraphDecoder(model, 2, _TOKENS + 1, captures=False)
    return Decoder(model)


def _own(model: PreTrainedModel, ids: list[int]) -> Tensor:
    logits: Tensor = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits
    return logits[0, -1].float()


def _distance(ours: Tensor, theirs: Tensor) -> float:
    spread = (theirs.max() - theirs.min()).clamp(min=1e-6)
    return float((ours - theirs).abs().max() / spread)


def _bytes_per_token(cohort: Cohort) -> int:
    size = sum(t.numel() * t.element_size() for kept in cohort.layers.values() for t in kept)
    return max(1, size // cohort.held)


def _name(model: PreTrainedModel) -> str:
    return type(base_model(model)).__name__
