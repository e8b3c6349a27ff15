"""log pi(y|x) of the responses of a micro-batch: one forward for policy and reference alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from lidr.training.head import token_log_probs
from lidr.training.microbatch import MicroBatch

log = logging.getLogger(__name__)


def response_log_probs(
    model: nn.Module, batch: MicroBatch, *, keep_logits: bool = True, keep_weights: bool = False
) -> Float[Tensor, " responses"]:
    """Sum over the response's tokens of log pi(y_t | x, y_<t) of every response, in nats.

    The LM head works at response positions only.

    Args:
        keep_logits: where the head is a plain linear layer, keep its logits until the backward rather than
            compute them again a few rows at a time.
        keep_weights: of attention, as `cpu_attention` has it; elsewhere it does nothing.
    """
    head = plain_head(model)
    token_terms = None if head is None else _from_head(model, head, batch, keep_logits, keep_weights)
    if token_terms is None:
        token_terms = _from_logits(model, batch, keep_weights)
    lengths = batch.response_lengths
    response = torch.arange(len(lengths), device=token_terms.device)
    response = response.repeat_interleave(lengths, output_size=len(token_terms))
    return torch.zeros(len(lengths), device=token_terms.device).index_add(0, response, token_terms)


# Heads whose output the model changes afterwards, as Cohere, Granite and Gemma 2 do; found out by the first forward.
_NOT_THE_LAST: WeakSet[nn.Module] = WeakSet()


def plain_head(model: nn.Module) -> nn.Linear | None:
    """The LM head, where it is a plain linear layer (no adapter on it) and its output is the model's logits."""
    find_head: Any = getattr(model, "get_output_embeddings", lambda: None)
    head = find_head()
    return head if type(head) is nn.Linear and head not in _NOT_THE_LAST else None


def _forward(model: nn.Module, batch: MicroBatch, keep_weights: bool) -> Tensor:
    inputs: dict[str, Any] = {"use_cache": False}
    if batch.segments is None:
        inputs["attention_mask"] = batch.attention_mask  # some models take no positions
    else:
        inputs |= {"position_ids": batch.position_ids, "packed_segments": batch.segments}
        inputs["keep_weights"] = keep_weights
    logits: Tensor = model(input_ids=batch.input_ids, **inputs).logits
    return logits


def _from_head(
    model: nn.Module, head: nn.Linear, batch: MicroBatch, keep: bool, keep_weights: bool
) -> Float[Tensor, " tokens"] | None:
    """None where the model does something to what its head returned."""
    returned: list[Tensor] = []

    def log_probs(hidden: Tensor) -> Tensor:
        chosen = hidden.flatten(0, 1).index_select(0, batch.before_response)
        terms = token_log_probs(chosen, head.weight, head.bias, batch.targets, keep=keep)
        returned.append(terms[None, :, None])
        return returned[-1]

    with _forward_of(head, log_probs):
        logits = _forward(model, batch, keep_weights)
    if len(returned) == 1 and logits is returned[0]:
        return logits[0, :, 0]
    _NOT_THE_LAST.add(head)
    log.info("%s changes the output of its LM head: its own logits are kept", type(model).__name__)
    return None


@contextmanager
def _forward_of(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Another forward for a module, inside the model's own: wrappers that gather its weights still work."""
    own = vars(module).get("forward")  # `fusing`'s
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def _from_logits(model: nn.Module, batch: MicroBatch, keep_weights: bool) -> Float[Tensor, " tokens"]:
    """From the model's own logits.

    The hidden states are narrowed on their way into the head, so that whatever a model does to its logits
    afterwards still happens.
    """
    find_head: Any = getattr(model, "get_output_embeddings", lambda: None)
    head = find_head()
    if isinstance(head, nn.Module):
        select = head.register_forward_pre_hook(
            lambda _, hidden: (hidden[0].flatten(0, 1).index_select(0, batch.before_response)[None],)
        )
        try:
            logits = _forward(model, batch, keep_weights)[0]
        finally:
            select.remove()
    else:
        logits = _forward(model, batch, keep_weights).flatten(0, 1).index_select(0, batch.before_response)
    return log_softmax(logits.float(), dim=-1).gather(-1, batch.targets[:, None])[:, 0]
