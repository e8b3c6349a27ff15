"""Whether a model's attention can be replaced through transformers' attention interface."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_FLASH_DTYPES, _FLASH_WIDTH = (torch.float16, torch.bfloat16), 256
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}


def base_model(model: Any) -> PreTrainedModel:
    """The transformers model inside a peft model, or the model itself."""
    found: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return found


def obstacle(model: nn.Module, longest: int) -> str | None:
    """What is known to keep a model from another attention over sequences of up to `longest` tokens, or None."""
    return next(_obstacles(base_model(model), longest), None)


def _obstacles(model: PreTrainedModel, longest: int) -> Iterator[str]:
    config: Any = model.config.get_text_config()
    name = type(model).__name__
    if not (model._supports_attention_backend and model._can_set_attn_implementation()):
        yield f"{name} does not use transformers' attention interface"
    if "position_ids" not in inspect.signature(model.forward).parameters:
        yield f"{name} takes no position_ids"
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - _KNOWN_LAYERS:
        yield f"{name} has layers of {', '.join(sorted(kinds - _KNOWN_LAYERS))}"
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in kinds if kinds else getattr(config, "use_sliding_window", True)
    if slides and window is not None and window < longest:
        yield f"{name} attends to {window} tokens, and the longest sequence has {longest}"
    if getattr(config, "attn_logit_softcapping", None) is not None:
        yield f"{name} caps its attention scores"


def has_varlen(query: Tensor) -> bool:
    """Whether `varlen` takes such queries."""
    return query.is_cuda and query.dtype in _FLASH_DTYPES and query.shape[-1] <= _FLASH_WIDTH


def varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_ends: Tensor,
    key_ends: Tensor,
    longest_query: int,
    longest_key: int,
    scale: float,
) -> Tensor:
    """Causal attention of several sequences by one flash kernel; the mask is aligned to each one's last key.

    Args:
        query: (time, heads, width), sequence after sequence.
        key, value: (keys, kv_heads, width).
        query_ends, key_ends: 0 and where each sequence ends, int32.
    """
    from torch.nn.attention.varlen import varlen_attn

    kernel = cast("Callable[..., Tensor]", varlen_attn)
    ends = (query_ends, key_ends, longest_query, longest_key)
    return kernel(query, key, value, *ends, scale=scale, window_size=(-1, 0), **_grouped(kernel))


@cache
def _grouped(kernel: Callable[..., Any]) -> dict[str, bool]:
    """PyTorch 2.11 takes fewer heads of keys than of queries unasked, later ones want to be told."""
    return {"enable_gqa": True} if "enable_gqa" in inspect.signature(kernel).parameters else {}
