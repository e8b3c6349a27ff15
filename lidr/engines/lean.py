"""The layers of a Llama-like model, called one after the other without what transformers does around them.

A decoding step of a few dozen rows spends as much time in calls as in arithmetic. Here a layer is about 20 calls where
transformers' own code makes 60. Models of other families, and Llamas with parts added, go through their own code; whether
the logits are the model's own is looked at before it answers (`probe`).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import rms_norm, silu

from lidr.attention_interface import base_model
from lidr.engines.cached_attention import Pass
from lidr.engines.laid_out import joined_product

_FAMILIES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")
_LAYER = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
_MLP = {"gate_proj", "up_proj", "down_proj", "act_fn"}


class LeanModel:
    """A model that is run layer by layer.

    Args:
        model: one that `fits`, in evaluation mode; adapters in its linear layers are part of them.
    """

    def __init__(self, model: nn.Module) -> None:
        causal: Any = base_model(model)
        self.inner, self.head = causal.model, causal.lm_head
        self.layers: list[Any] = list(self.inner.layers)

    def __call__(
        self,
        tokens: Int[Tensor, " time"],
        positions: Int[Tensor, " time"],
        own: Pass,
        wanted: Int[Tensor, " some"],
    ) -> Float[Tensor, "some vocabulary"]:
        """The logits at the wanted positions."""
        hidden = self.inner.embed_tokens.forward(tokens)
        cos, sin = self.inner.rotary_emb.forward(hidden[None], positions[None])
        half = sin.shape[-1] // 2
        turn = cos[0][:, None], torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)[:, None]
        for index, layer in enumerate(self.layers):
            attention, mlp = layer.self_attn, layer.mlp
            normed = _normed(layer.input_layernorm, hidden)
            hidden = hidden + attention.o_proj.forward(_attended(attention, index, normed, turn, own))
            gate, up = joined_product(
                normed := _normed(layer.post_attention_layernorm, hidden), mlp.gate_proj, mlp.up_proj
            )
            hidden = hidden + mlp.down_proj.forward(silu(gate).mul_(up))
        logits: Tensor = self.head.forward(_normed(self.inner.norm, hidden[wanted]))
        return logits


def fits(model: nn.Module) -> bool:
    """Whether the model's modules are those of a plain Llama."""
    causal: Any = base_model(model)
    if type(causal).__name__ not in _FAMILIES:
        return False
    return all(
        _children(layer) == _LAYER
        and _children(layer.self_attn) == _ATTENTION
        and _children(layer.mlp) == _MLP
        and type(layer.mlp.act_fn).__name__ in ("SiLU", "SiLUActivation")
        for layer in causal.model.layers
    )


def _children(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_children()}


def _normed(norm: Any, hidden: Tensor) -> Tensor:
    return rms_norm(hidden, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _attended(attention: Any, index: int, hidden: Tensor, turn: tuple[Tensor, Tensor], own: Pass) -> Tensor:
    """(time, heads * width) of what the tokens see; query, key and value of a layer's input, rotated."""
    query, key, value = (
        part.view(len(hidden), -1, attention.head_dim)
        for part in joined_product(hidden, attention.q_proj, attention.k_proj, attention.v_proj)
    )
    rotated = (_rotated(part, *turn).transpose(0, 1)[None] for part in (query, key))
    seen = own.attend(index, *rotated, value.transpose(0, 1)[None], attention.scaling)
    return seen.view(len(hidden), -1)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x * cos + (-x2, x1) * sin with the sign in the sine, (time, heads, width)."""
    return (x * cos).addcmul_(x.roll(x.shape[-1] // 2, -1), sin)
