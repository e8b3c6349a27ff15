"""Plain transformers, as an experienced user writes it: `model.generate` over fixed batches in file order.

Rows are padded on the left. `generate` applies the repetition penalty to every token of a row, its padding
included, so the padding is a token that stands in each prompt of the batch anyway: it changes no answer. For
SmolLM2 that is its own padding token, the end of turn, which ends the system's and the user's turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Sequence

import torch
from transformers import PreTrainedModel

from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.engines.endings import stop_ids


class PlainGenerate:
    """An engine; see `lidr.engines.base.Engine`."""

    def __init__(self, model: PreTrainedModel, chat: ChatFormat, batch: int) -> None:
        self.model, self.chat, self.batch = model, chat, batch
        self._eos = stop_ids(model, chat)

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """Batch after batch."""
        waiting = (r for r in requests if r.key not in done)
        while batch := list(itertools.islice(waiting, self.batch)):
            yield self._answer(batch, sampling)

    @torch.inference_mode()
    def _answer(self, batch: list[Request], sampling: SamplingConfig) -> list[Completion]:
        prompts = self.chat.batch_prompt_ids([(r.user, r.prefill) for r in batch])
        width, pad = max(map(len, prompts)), neutral_padding(prompts, self.chat.pad_id)
        stops = sorted({text for request in batch for text in request.stop})
        ids = [[pad] * (width - len(p)) + p for p in prompts]
        mask = [[0] * (width - len(p)) + [1] * len(p) for p in prompts]
        output = self.model.generate(  # type: ignore[operator]
            input_ids=torch.tensor(ids, device=self.model.device),
            attention_mask=torch.tensor(mask, device=self.model.device),
            do_sample=sampling.temperature > 0,
            max_new_tokens=sampling.max_new_tokens,
            repetition_penalty=sampling.repetition_penalty,
            eos_token_id=sorted(self._eos),
            pad_token_id=self.chat.end_of_turn_id,
            stop_strings=stops or None,
            tokenizer=self.chat.tokenizer if stops else None,
        )
        rows = output[:, width:].tolist()
        return [completion(r, ids, self._eos, self.chat.decode) for r, ids in zip(batch, rows, strict=True)]


def neutral_padding(prompts: Sequence[Sequence[int]], preferred: int) -> int:
    """A token that every prompt holds: the preferred one, or else the first of the first prompt.

    Raises:
        SystemExit: the prompts share no token, so padding would change answers under a repetition penalty.
    """
    shared = set(prompts[0]).intersection(*prompts[1:])
    if not shared:
        raise SystemExit("the prompts of a batch share no token to pad with")
    return preferred if preferred in shared else next(token for token in prompts[0] if token in shared)


def completion(
    request: Request, ids: list[int], eos: frozenset[int], decode: Callable[[list[int]], str]
) -> Completion:
    """A row of `generate` up to where its answer ends: after it, finished rows go on with end-of-turn tokens."""
    body = list(itertools.takewhile(lambda token: token not in eos, ids))
    text = decode(body)
    ends = [text.index(stop) + len(stop) for stop in request.stop if stop in text]
    if ends:
        used = len(body)
        while any(stop in decode(body[: used - 1]) for stop in request.stop):
            used -= 1
        return Completion(request.key, text[: min(ends)], FinishReason.STOP, used)
    if len(body) < len(ids):
        return Completion(request.key, text, FinishReason.STOP, len(body) + 1)
    return Completion(request.key, text, FinishReason.LENGTH, len(ids))
