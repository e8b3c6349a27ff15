"""log pi(y|x) of the responses of a micro-batch: one forward for policy and reference alike."""

from __future__ import annotations

import inspect

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from lidr.training.batching import MicroBatch


def response_log_probs(model: nn.Module, batch: MicroBatch) -> Float[Tensor, " rows"]:
    """Sum over the response's tokens of log pi(y_t | x, y_<t) of every row, in nats.

    Logits are computed at response positions only, and their log-softmax in fp32.
    """
    logits = _response_logits(model, batch)
    targets = batch.input_ids[:, 1:][batch.before_response[:, :-1]]
    token_log_probs = log_softmax(logits.float(), dim=-1).gather(-1, targets[:, None])[:, 0]
    rows = torch.arange(len(batch.input_ids), device=targets.device)
    row = rows.repeat_interleave(batch.response_lengths, output_size=len(targets))
    return torch.zeros(len(rows), device=targets.device).index_add(0, row, token_log_probs)


def _response_logits(model: nn.Module, batch: MicroBatch) -> Float[Tensor, "tokens vocabulary"]:
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
    if _selects_positions(_forward_of(model)):
        # transformers applies a mask of two dimensions before the head, so that whatever a model does to its
        # logits (Cohere scales them, Gemma caps them) still happens; the result is flat.
        logits: Tensor = model(**inputs, logits_to_keep=batch.before_response).logits
        return logits
    return model(**inputs).logits[batch.before_response]  # type: ignore[no-any-return]


def _forward_of(model: nn.Module) -> type[nn.Module]:
    """The class whose `forward` decides; a peft wrapper only hands its arguments on."""
    base = getattr(model, "get_base_model", None)
    return type(base() if callable(base) else model)


def _selects_positions(model_class: type[nn.Module]) -> bool:
    return "logits_to_keep" in inspect.signature(model_class.forward).parameters
