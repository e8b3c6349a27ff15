"""Decoder layers of Llama's form in few calls, on a CPU.

With the few rows of a decoding step a layer's small operators take as long as its products, most of it to be called
at all. Here a product adds the residual, activates or multiplies where it writes its result, and
what is left is compiled code where there is any. The values are the layer's own but for the order of roundings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from lidr.engines.cached_attention import Embeddings, Pass
from lidr.engines.native.step import Native
from lidr.engines.product import Product, alike, has_product

_FORMS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer")
_ATTENTION, _MLP = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
_ACTIVATIONS = ("silu", "swish")
_ROWS_AT_ONCE = 128


def has_form(layer: Any, usable: Callable[[object], bool] = has_product) -> bool:
    """Whether a module is a layer that `FusedLayer` computes; one with adapters is not.

    Args:
        usable: whether a product can be made of a linear layer.
    """
    kind = type(layer)
    if kind.__name__ not in _FORMS or not kind.__module__.startswith("transformers.models."):
        return False
    attention = layer.self_attn
    if attention.config.hidden_act not in _ACTIVATIONS or attention.head_dim % 2:
        return False
    linear = [*(getattr(attention, n) for n in _ATTENTION), *(getattr(layer.mlp, n) for n in _MLP)]
    if not all(map(usable, linear)):
        return False
    return alike(linear[:3]) and len({module.weight.dtype for module in linear}) == 1


class FusedLayer:
    """What a layer computes in an engine's pass; called without a pass it is the layer's own.

    Args:
        layer: `has_form`.
        qkv: the product of its queries, keys and values.
        products: those of its other linear layers.
        code: compiled code for norms, if there is any.
    """

    def __init__(
        self, layer: Any, qkv: Product, products: dict[nn.Module, Product], code: Native | None
    ) -> None:
        self.layer, self.qkv, self.code = layer, qkv, code
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
        position_embeddings: Embeddings,
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
        query, key, value = self._heads(self._normed(x, self.layer.input_layernorm))
        seen = lidr_pass.attend(self.index, query, key, value, self.scale, position_embeddings)
        x = self.out.plus(seen.flatten(1), x)
        normed = self._normed(x, self.layer.post_attention_layernorm)
        return self.down.plus(self._gated(normed), x)[None]

    def _heads(self, x: Float[Tensor, "time hidden"]) -> Sequence[Float[Tensor, "time heads width"]]:
        """Queries, keys and values."""
        heads = self.qkv(x).view(len(x), -1, self.width)
        return torch.split(heads, [self.queries, self.keys, self.keys], dim=1)

    def _gated(self, x: Float[Tensor, "time hidden"]) -> Float[Tensor, "time inner"]:
        """SiLU(gate) * up."""
        return self.up.times(x, self.gate.activated(x))

    def _normed(self, x: Float[Tensor, "time hidden"], norm: Any) -> Float[Tensor, "time hidden"]:
        """By the operator a few rows at a time, since it keeps copies in fp32: of a prompt in a quarter of the time."""
        weight, epsilon = norm.weight, norm.variance_epsilon
        if self.code is not None:
            return self.code.normed(x, weight, epsilon)
        parts = [rms_norm(rows, weight.shape, weight, epsilon) for rows in torch.split(x, _ROWS_AT_ONCE)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
