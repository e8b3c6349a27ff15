"""How likely a model finds texts that are given: one forward pass for each, nothing is generated."""

from __future__ import annotations

import inspect
from collections.abc import Container, Iterable, Iterator

import torch
from transformers import PreTrainedModel

from lidr.attention_interface import base_model
from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.errors import LidrError
from lidr.memory import ran_out

_TOGETHER = 32  # completions that are handed on at a time


class Scorer:
    """Gives the log-probs of requests' labels as whole answers.

    Every label has a forward pass of its own, so that its log-prob is a function of the request alone.

    Args:
        model: in evaluation mode.
        chat: formats requests for the model's tokenizer.
    """

    def __init__(self, model: PreTrainedModel, chat: ChatFormat) -> None:
        self.model, self.chat = model, chat
        self._context: int | None = getattr(
            base_model(model).config.get_text_config(), "max_position_embeddings", None
        )
        self._keeps_logits = "logits_to_keep" in inspect.signature(base_model(model).forward).parameters

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """See `lidr.engines.base.Engine`. A completion has no text, and the tokens of all labels together.

        Args:
            sampling: without effect, as nothing is sampled.

        Raises:
            LidrError: memory ran out.
        """
        found: list[Completion] = []
        for request in requests:
            if request.key in done:
                continue
            found.append(self._completion(request))
            if len(found) == _TOGETHER:
                yield found
                found = []
        if found:
            yield found

    def _completion(self, request: Request) -> Completion:
        prompt = self.chat.batch_prompt_ids([request.turn])[0]
        labels = self.chat.batch_text_ids(list(request.labels))
        longest = len(prompt) + max(map(len, labels), default=0)
        if self._context is not None and longest > self._context:
            return Completion(request.key, "", FinishReason.TOO_LONG, 0)
        try:
            log_probs = {
                text: self._log_prob(prompt, ids) for text, ids in zip(request.labels, labels, strict=True)
            }
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            raise LidrError(
                f"memory ran out while a text of {longest} tokens was scored",
                where=f"request {request.key!r}",
                instead="take a machine with more memory, a smaller model, or shorter answers",
            ) from error
        return Completion(request.key, "", FinishReason.STOP, sum(map(len, labels)), log_probs)

    @torch.inference_mode()
    def _log_prob(self, prompt: list[int], answer: list[int]) -> float:
        """Sum over the answer's tokens, nats, added up in double precision."""
        if not answer:
            return 0.0
        ids = torch.tensor([prompt + answer[:-1]], device=self.model.device)
        kept = {"logits_to_keep": len(answer)} if self._keeps_logits else {}
        logits = self.model(input_ids=ids, use_cache=False, **kept).logits[0, -len(answer) :].float()
        targets = torch.tensor(answer, device=logits.device)
        chosen = logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(-1)
        return float(chosen.double().sum())
