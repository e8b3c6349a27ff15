"""log pi(y_t | x, y_<t) straight from the LM head, without the log-probabilities of the other tokens.

Kept: the logits stay in memory, in the precision they were computed in, until the backward; the forward puts their
exponentials in their place, the backward the gradient. Chunked: a few rows of logits exist at a time, and the
backward computes them again; where the head is frozen even that is not needed, since the gradient of the hidden
states is known in the forward.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear

from lidr import kernels
from lidr.training.numerics import autocast_dtype
from lidr.training.pieces import row_pieces
from lidr.training.products import times

_SOFTMAX_ELEMENTS = 2**19  # elements of a block of fp32 logits, so that it stays in a CPU's cache
_CACHED_ELEMENTS = 2**24  # elements of logits that the softmax reads while they are still in it
CHUNK_ELEMENTS = 2**25  # elements of a chunk of logits: 64 MiB in bf16


def token_log_probs(
    hidden: Float[Tensor, "tokens width"],
    weight: Float[Tensor, "vocabulary width"],
    bias: Float[Tensor, " vocabulary"] | None,
    targets: Int[Tensor, " tokens"],
    *,
    keep: bool,
) -> Float[Tensor, " tokens"]:
    """log softmax(hidden @ weight.T + bias) at the targets, in fp32 nats.

    Under autocast the product is computed in autocast's precision; the softmax always in fp32.
    """
    dtype = autocast_dtype(hidden.device)
    if dtype is not None:
        hidden, weight = hidden.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    if not torch.is_grad_enabled():  # a function is told of gradients that are wanted all the same
        hidden, weight = hidden.detach(), weight.detach()
        bias = None if bias is None else bias.detach()
    with torch.autocast(hidden.device.type, enabled=False):
        function = _Kept if keep else _Chunked
        log_probs: Tensor = function.apply(hidden, weight, bias, targets)  # type: ignore[no-untyped-call]
    return log_probs


class _Kept(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        trains = any(ctx.needs_input_grad)
        whole = hidden.is_cuda and trains
        chunks = [slice(0, len(hidden))] if whole else _chunks(hidden, weight, _CACHED_ELEMENTS)
        logits = hidden.new_empty(len(hidden) if trains else chunks[0].stop, len(weight))
        parts = []
        for rows in chunks:
            own = rows if trains else slice(0, len(hidden[rows]))
            chunk = torch.mm(hidden[rows], weight.T, out=logits[own])
            if bias is not None:
                chunk += bias
            parts.append(_log_softmax_at(chunk, targets[rows], replace=trains))
        log_probs, sums = (torch.cat(column) for column in zip(*parts, strict=True))
        if trains:
            ctx.save_for_backward(hidden, weight, targets, sums)
            ctx.exponentials = logits
        return log_probs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, sums = ctx.saved_tensors
        d_logits, ctx.exponentials = ctx.exponentials, None
        _to_gradient(d_logits, targets, sums, grads[0])
        d_hidden, d_weight, d_bias, _ = ctx.needs_input_grad
        return (
            times(d_logits, weight.T) if d_hidden else None,
            d_logits.T @ hidden if d_weight else None,
            d_logits.sum(0) if d_bias else None,
            None,
        )


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        wants_hidden, *head_wants, _ = ctx.needs_input_grad
        frozen = wants_hidden and not any(head_wants)
        slope = torch.empty_like(hidden) if frozen else None
        parts = []
        for rows in _chunks(hidden, weight, CHUNK_ELEMENTS):
            logits = linear(hidden[rows], weight, bias)
            log_probs, sums = _log_softmax_at(logits, targets[rows], replace=slope is not None)
            if slope is not None:
                _to_gradient(logits, targets[rows], sums, torch.ones_like(sums))
                torch.mm(logits, weight, out=slope[rows])
            parts.append(log_probs)
        if slope is not None:
            ctx.save_for_backward(slope)
        elif any(ctx.needs_input_grad):
            ctx.save_for_backward(hidden, weight, bias, targets)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if len(ctx.saved_tensors) == 1:
            (slope,) = ctx.saved_tensors
            return slope * grads[0][:, None].to(slope.dtype), None, None, None
        hidden, weight, bias, targets = ctx.saved_tensors
        wants = ctx.needs_input_grad
        d_hidden = torch.empty_like(hidden) if wants[0] else None
        d_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if wants[1] else None
        d_bias = torch.zeros(bias.shape, dtype=torch.float32, device=weight.device) if wants[2] else None
        for rows in _chunks(hidden, weight, CHUNK_ELEMENTS):
            d_logits = linear(hidden[rows], weight, bias)
            _, sums = _log_softmax_at(d_logits, targets[rows], replace=True)
            _to_gradient(d_logits, targets[rows], sums, grads[0][rows])
            if d_hidden is not None:
                torch.mm(d_logits, weight, out=d_hidden[rows])
            if d_weight is not None:
                d_weight += d_logits.T @ hidden[rows]
            if d_bias is not None:
                d_bias += d_logits.sum(0)
        return (
            d_hidden,
            None if d_weight is None else d_weight.to(weight.dtype),
            None if d_bias is None else d_bias.to(bias.dtype),
            None,
        )


def _chunks(hidden: Tensor, weight: Tensor, elements: int) -> list[slice]:
    return row_pieces(len(hidden), len(weight), elements)


def _blocks(logits: Tensor) -> list[slice]:
    """Rows that the softmax takes at once; on CUDA, where a launch costs more than memory, a whole chunk."""
    rows, width = logits.shape
    return row_pieces(rows, width, CHUNK_ELEMENTS if logits.is_cuda else _SOFTMAX_ELEMENTS)


def _log_softmax_at(logits: Tensor, targets: Tensor, *, replace: bool) -> tuple[Tensor, Tensor]:
    """The log-softmax at the targets, and each row's sum of exp(logit - max), in fp32.

    Args:
        replace: put exp(logit - max) in the logits' place, so that the gradient needs no exponential any more.
    """
    log_probs = logits.gather(1, targets[:, None])[:, 0].float()
    if kernels.serves(logits):
        largest, sums = kernels.softmax_forward(logits, replace)
        return log_probs - largest - sums.log(), sums
    sums = torch.empty_like(log_probs)
    for rows in _blocks(logits):
        block = logits[rows].float()
        highest = block.amax(1, keepdim=True)
        block = block.sub_(highest).exp_() if block.dtype != logits.dtype else (block - highest).exp_()
        sums[rows] = block.sum(1)
        log_probs[rows] -= highest[:, 0]
        if replace:
            logits[rows] = block
    return log_probs - sums.log(), sums


def _to_gradient(exponentials: Tensor, targets: Tensor, sums: Tensor, grad: Tensor) -> None:
    """Replaces exp(logit - max) by the gradient: grad * (one_hot(target) - softmax(logits)) of each row."""
    if kernels.serves(exponentials):
        kernels.softmax_backward(exponentials, targets, sums, grad.contiguous())
        return
    for rows in _blocks(exponentials):
        share = exponentials[rows].float().mul_((-grad[rows] / sums[rows])[:, None])
        share.scatter_add_(1, targets[rows, None], grad[rows, None])
        exponentials[rows] = share
