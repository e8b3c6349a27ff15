"""Generation with transformers, in this process."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

import torch
from transformers import GenerationConfig, PreTrainedModel, set_seed

from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.errors import LidrError


class TransformersEngine:
    """Generates in batches of prompts of similar length, longest first, so that the memory peak comes early.

    Args:
        model: in evaluation mode.
        chat: formats requests for the model's tokenizer.
        batch_size: requests a batch.
        seed: for sampling; each batch is seeded by its place, so that a resumed stage draws the same.
    """

    def __init__(self, model: PreTrainedModel, chat: ChatFormat, batch_size: int, seed: int = 0) -> None:
        self.model, self.chat, self.batch_size, self.seed = model, chat, batch_size, seed
        self._stop_ids = _stop_ids(model, chat)

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """See `lidr.engines.base.Engine`."""
        requests = list(requests)
        prompts = self.chat.batch_prompt_ids([(r.user, r.prefill) for r in requests])
        order = sorted(range(len(requests)), key=lambda i: -len(prompts[i]))
        if order:
            self._check_length(requests[order[0]], len(prompts[order[0]]))
        for place, start in enumerate(range(0, len(order), self.batch_size)):
            batch = order[start : start + self.batch_size]
            if all(requests[i].key in done for i in batch):
                continue
            set_seed(self.seed + place)
            ids = self._generate([prompts[i] for i in batch], sampling)
            completions = [self._completion(requests[i], out) for i, out in zip(batch, ids, strict=True)]
            yield [c for c in completions if c.key not in done]

    def _check_length(self, request: Request, length: int) -> None:
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if limit is not None and length >= limit:
            raise LidrError(
                f"the prompt has {length} tokens, the model's context holds {limit}",
                where=f"request {request.key!r}",
                instead="leave the prompt out, or take a model with a longer context",
            )

    @torch.inference_mode()
    def _generate(self, prompts: list[list[int]], sampling: SamplingConfig) -> list[list[int]]:
        width = max(map(len, prompts))
        limit = getattr(self.model.config, "max_position_embeddings", None)
        room = sampling.max_new_tokens if limit is None else min(sampling.max_new_tokens, limit - width)
        ids = torch.tensor([[self.chat.pad_id] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        device = self.model.device
        output = self.model.generate(  # type: ignore[operator]
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=self._config(sampling, room),
        )
        return [self._cut(row) for row in output[:, width:].tolist()]

    def _config(self, sampling: SamplingConfig, max_new_tokens: int) -> GenerationConfig:
        settings: dict[str, object] = {"do_sample": False}
        if sampling.temperature > 0:
            settings = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": 0,
            }
        return GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max_new_tokens,
            repetition_penalty=sampling.repetition_penalty,
            eos_token_id=sorted(self._stop_ids),
            pad_token_id=self.chat.pad_id,
            **settings,
        )

    def _cut(self, ids: list[int]) -> list[int]:
        """The row up to and including its first stop token; padding after it is dropped."""
        for position, token in enumerate(ids):
            if token in self._stop_ids:
                return ids[: position + 1]
        return ids

    def _completion(self, request: Request, ids: list[int]) -> Completion:
        stopped = bool(ids) and ids[-1] in self._stop_ids
        text = self.chat.decode(ids[:-1] if stopped else ids)
        return Completion(request.key, text, FinishReason.STOP if stopped else FinishReason.LENGTH, len(ids))


def _stop_ids(model: PreTrainedModel, chat: ChatFormat) -> frozenset[int]:
    """Every token that ends an answer: the template's end of turn and what the model's own settings name."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    named = [configured] if isinstance(configured, int) else list(configured or [])
    eos = chat.tokenizer.eos_token_id
    return frozenset([chat.end_of_turn_id, *named, *([eos] if isinstance(eos, int) else [])])
