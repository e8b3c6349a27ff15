"""Whether a model's attention can be replaced through transformers' attention interface."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers import PreTrainedModel

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
