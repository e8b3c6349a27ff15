"""Generation with transformers' own `generate`, in batches of a fixed size: for models that `flight` cannot run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from transformers import GenerationConfig, PreTrainedModel, set_seed

from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion
from lidr.engines.endings import Endings
from lidr.engines.prepare import Prepared
from lidr.engines.seeds import request_seed


class PlainEngine:
    """Answers prepared requests, batch after batch; a batch goes on until its last row ends.

    Left padding and the number of rows move the last bits, so that an answer may depend on its batch.

    Args:
        seed: for sampling; each batch is seeded by its first request.
    """

    def __init__(
        self, model: PreTrainedModel, chat: ChatFormat, endings: Endings, batch_size: int, seed: int
    ) -> None:
        self.model, self.chat, self.endings = model, chat, endings
        self.batch_size, self.seed = batch_size, seed

    def answer(self, requests: Sequence[Prepared], sampling: SamplingConfig) -> Iterator[list[Completion]]:
        """A batch's completions at a time."""
        for start in range(0, len(requests), self.batch_size):
            batch = requests[start : start + self.batch_size]
            first = batch[0].request
            set_seed(request_seed(self.seed, first.key, first.draw) % 2**32)
            rows = self._generate([r.prompt for r in batch], sampling, max(r.limit for r in batch))
            yield [self.endings.whole(r.request, ids, r.limit) for r, ids in zip(batch, rows, strict=True)]

    @torch.inference_mode()
    def _generate(self, prompts: list[list[int]], sampling: SamplingConfig, limit: int) -> list[list[int]]:
        width = max(map(len, prompts))
        ids = torch.tensor([[self.chat.pad_id] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        device = self.model.device
        output = self.model.generate(  # type: ignore[operator]
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=self._config(sampling, limit),
        )
        rows: list[list[int]] = output[:, width:].tolist()
        return rows

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
            eos_token_id=sorted(self.endings.stop_ids),
            pad_token_id=self.chat.pad_id,
            **settings,
        )
