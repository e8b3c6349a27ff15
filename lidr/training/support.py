"""Whether a model can run packed rows, and the switch to them."""

from __future__ import annotations

import torch
from torch import nn

from lidr.attention_interface import base_model
from lidr.config import Layout
from lidr.training import attention, microbatch
from lidr.training.logprobs import response_log_probs
from lidr.training.pairs import TokenPair

_PROBE_TOKENS = 512
# Largest distance of a response's log-prob between padded and packed rows, nats per token. Rounding gives about
# 1e-6 and 1e-2; a response that saw another sequence or a wrong position is off by more.
_PROBE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
_OWN_ATTENTION = "_lidr_own_attention"  # what a model was loaded with: some families have no `sdpa`


def use_layout(model: nn.Module, layout: Layout) -> None:
    """Routes the model's attention through `attention.packed_attention`, or for padded rows through its own."""
    base = base_model(model)
    if layout is not Layout.PADDED:
        vars(base).setdefault(_OWN_ATTENTION, base.config._attn_implementation)
        base.set_attn_implementation(attention.PACKED)
    elif _OWN_ATTENTION in vars(base):
        base.set_attn_implementation(vars(base)[_OWN_ATTENTION])


@torch.no_grad()
def probe(model: nn.Module, pairs: tuple[TokenPair, ...], layout: Layout, device: torch.device) -> str | None:
    """Compares log-probs of a few real pairs in packed and in padded rows; None where they agree.

    It finds what no table of models knows: anything that lets one sequence of a row see another, or that counts
    positions on its own. The model's attention is left packed.
    """
    indices = _probed(pairs)
    use_layout(model, Layout.PADDED)
    padded = microbatch.make(pairs, indices, Layout.PADDED, 0).to(device)
    expected = response_log_probs(model, padded)
    use_layout(model, layout)
    try:
        packed = response_log_probs(model, microbatch.make(pairs, indices, layout, 0).to(device))
    except Exception as error:  # whatever the model's own code raises
        message = (str(error).splitlines() or [type(error).__name__])[0]
        return f"{type(base_model(model)).__name__} cannot run it ({message})"
    off = ((packed - expected).abs() / padded.response_lengths).max().item()
    if off <= _PROBE_TOLERANCE[next(model.parameters()).dtype]:
        return None
    return f"{type(base_model(model)).__name__} gives other log-probs there ({off:.2g} nats per token)"


def _probed(pairs: tuple[TokenPair, ...]) -> list[int]:
    """The first pairs of up to `_PROBE_TOKENS` tokens together, at least two where there are two."""
    chosen: list[int] = []
    tokens = 0
    for index in sorted(range(len(pairs)), key=lambda i: (pairs[i].tokens, i)):
        tokens += pairs[index].tokens
        if len(chosen) >= 2 and tokens > _PROBE_TOKENS:
            break
        chosen.append(index)
    return chosen[:8]
