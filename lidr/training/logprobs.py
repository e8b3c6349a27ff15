"""log pi(y|x) of the responses of a micro-batch: one forward for policy and reference alike."""

from __future__ import annotations

from typing import Any

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
    """Logits at the positions before response tokens, flat.

    The hidden states are narrowed on their way into the head, so that whatever a model does to its logits
    afterwards (Cohere scales them, Gemma caps them) still happens, in every version of transformers.
    """
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
    find_head: Any = getattr(model, "get_output_embeddings", lambda: None)
    head = find_head()
    if not isinstance(head, nn.Module):
        full: Tensor = model(**inputs).logits
        return full[batch.before_response]
    hook = head.register_forward_pre_hook(lambda _, hidden: (hidden[0][batch.before_response],))
    try:
        logits: Tensor = model(**inputs).logits
    finally:
        hook.remove()
    return logits
