"""Decoder layers of Llama's form in few calls, on a CPU.

With the few rows of a decoding step a layer's small operators take as long as its products, most of it to be called
at all. Here a product adds the residual, activates or multiplies where it writes its result, and queries and keys are
turned to their positions together. The values are the layer's own but for the order of roundings.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from lidr.engines.cached_attention import Pass
from lidr.engines.product import Product, alike, has_product

_FORMS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer")
_ATTENTION, _MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
_ACTIVATIONS = ("silu", "swish")
_ROWS_AT_ONCE = 128


def has_form(layer: Any) -> bool:
    """Whether a module is a layer that `FusedLayer` computes; one with adapters is not."""
    kind = type(layer)
    if kind.__name__ not in _FORMS or not kind.__module__.startswith("transformers.models."):
        return False
    attention = layer.self_attn
    if attention.config.hidden_act not in _ACTIVATIONS or attention.head_dim % 2:
        return False
    linear = [*(getattr(attention, n) for n in _ATTENTION), *(getattr(layer.mlp, n) for n in _MLP)]
    if not all(map(has_product, linear)):
        return False
    return alike(linear[:3]) and len({module.weight.dtype for module in linear}) == 1


class Turns:
    """Rotary position embeddings (arXiv 2104.09864) of queries and keys; what a pass's layers share is made once."""

    def __init__(self) -> None:
        self._cos: Tensor | None = None
        self._both: tuple[Tensor, Tensor] | None = None

    def turned(
        self, heads: Float[Tensor, "time heads width"], embeddings: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "time heads width"]:
        """Heads at their positions.

        Args:
            embeddings: cosines and sines, (1, time, width), as transformers makes them.
        """
        cos, sin = embeddings
        half = sin.shape[-1] // 2
        if self._both is None or cos is not self._cos:
            signed = torch.cat([-sin[..., :half], sin[..., half:]], -1)
            self._cos, self._both = cos, (cos[0][:, None], signed[0][:, None])
        cosines, sines = self._both
        return torch.addcmul(heads * cosines, heads.roll(half, -1), sines)


class FusedLayer:
    """What a layer computes in an engine's pass; called without a pass it is the layer's own.

    Args:
        layer: `has_form`.
        qkv: the product of its queries, keys and values.
        products: those of its other linear layers.
        turns: shared by the layers of a model.
    """

    def __init__(self, layer: Any, qkv: Product, products: dict[nn.Module, Product], turns: Turns) -> None:
        self.layer, self.qkv, self.turns = layer, qkv, turns
        attention, mlp = layer.self_attn, layer.mlp
        self.index, self.scale, self.width = attention.layer_idx, attention.scaling, attention.head_dim
        self.queries = attention.q_proj.out_features // self.width
        self.keys = attention.k_proj.out_features // self.width
        self.out, self.gate = products[attention.o_proj], products[mlp.gate_proj]
        self.up, self.down = products[mlp.up_proj], products[mlp.down_proj]

    def __call__(
        self,
        hidden_states: Float[Tensor, "1 time hidden"],
        *args: Any,
        position_embeddings: tuple[Tensor, Tensor],
        lidr_pass: Pass | None = None,
        **own: Any,
    ) -> Float[Tensor, "1 time hidden"]:
        """The layer's `forward`."""
        if lidr_pass is None:
            forward = type(self.layer).forward
            out: Tensor = forward(
                self.layer, hidden_states, *args, position_embeddings=position_embeddings, **own
            )
            return out
        x = hidden_states[0]
        heads = self.qkv(_normed(x, self.layer.input_layernorm)).view(len(x), -1, self.width)
        turned = self.turns.turned(heads[:, : self.queries + self.keys], position_embeddings)
        query, key, value = turned[:, : self.queries], turned[:, self.queries :], heads[:, -self.keys :]
        seen = lidr_pass.attend(self.index, query, key, value, self.scale)
        x = self.out.plus(seen.flatten(1), x)
        normed = _normed(x, self.layer.post_attention_layernorm)
        return self.down.plus(self.up.times(normed, self.gate.activated(normed)), x)[None]


def _normed(x: Float[Tensor, "time hidden"], norm: Any) -> Float[Tensor, "time hidden"]:
    """A few rows at a time, since the operator keeps several copies in fp32: of a prompt in a quarter of the time."""
    shape, weight, epsilon = norm.weight.shape, norm.weight, norm.variance_epsilon
    if len(x) <= _ROWS_AT_ONCE:
        return rms_norm(x, shape, weight, epsilon)
    return torch.cat([rms_norm(rows, shape, weight, epsilon) for rows in torch.split(x, _ROWS_AT_ONCE)])
