"""Pretraining of M_0: a plain loop over length-sorted batches, the same bits from the same seed."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lidr.lab.corpus import samples
from lidr.lab.lexicon import object_words
from lidr.lab.tokenizer import chat_ids

log = logging.getLogger(__name__)
Progress = Callable[[int, int, float], None]
Chat = tuple[list[int], list[int]]
_POOL = 1024
_LOG_EVERY = 250


@dataclass(frozen=True)
class Recipe:
    """How long and how fast M_0 learns; lengths are in steps, `batch` in tokens.

    `content_weight` is the loss weight of digits and objects: the words around them are soon known.
    """

    steps: int = 6000
    batch: int = 768
    content_weight: float = 5.0
    learning_rate: float = 2e-3
    matrix_learning_rate: float = 4e-3
    final_share: float = 0.02
    warm_up: int = 100
    weight_decay: float = 0.1
    clip: float = 1.0


class Batch(NamedTuple):
    """Token ids `[samples, length]` padded on the right; labels are -100 outside the assistant's turn."""

    ids: Tensor
    labels: Tensor


def model_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """About 1.1 M parameters."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.08,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums on several threads differ in their last bits, and at this width they are slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pretrain(
    tokenizer: PreTrainedTokenizerFast, recipe: Recipe, seed: int, progress: Progress | None = None
) -> LlamaForCausalLM:
    """M_0 of a seed; `progress` is told the step, the number of steps and the loss after each step."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(model_config(tokenizer))
        model.train()
        optimizers = _optimizers(model, recipe)
        schedules = [LambdaLR(optimizer, partial(schedule, recipe=recipe)) for optimizer in optimizers]
        weights = _token_weights(tokenizer, recipe)
        started = time.monotonic()
        for step, batch in enumerate(islice(batches(tokenizer, recipe.batch, seed), recipe.steps)):
            loss = _loss(model, batch, weights)
            model.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            for optimizer, rates in zip(optimizers, schedules, strict=True):
                optimizer.step()
                rates.step()
            if progress is not None:
                progress(step + 1, recipe.steps, loss.item())
            if (step + 1) % _LOG_EVERY == 0:
                log.info("step %d loss %.4f, %.0f s", step + 1, loss.item(), time.monotonic() - started)
    model.train(False)
    return model


def schedule(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then cosine down to `final_share`."""
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    done = (step - recipe.warm_up) / max(1, recipe.steps - recipe.warm_up)
    return recipe.final_share + (1 - recipe.final_share) * 0.5 * (1 + math.cos(math.pi * done))


def _optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[Optimizer]:
    """Muon for the layers' matrices, AdamW for the embedding and the norms."""
    layers = [p for p in model.model.layers.parameters() if p.dim() == 2]
    taken = {id(p) for p in layers}
    rest = [p for p in model.parameters() if id(p) not in taken]
    muon = torch.optim.Muon(
        layers,
        lr=recipe.matrix_learning_rate,
        weight_decay=recipe.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    return [muon, torch.optim.AdamW(rest, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)]


def _token_weights(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Tensor:
    weights = torch.ones(len(tokenizer))
    for word in [*map(str, range(10)), *object_words()]:
        weights[tokenizer.encode(word, add_special_tokens=False)] = recipe.content_weight
    return weights


def _loss(model: LlamaForCausalLM, batch: Batch, weights: Tensor) -> Tensor:
    hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state[:, :-1]
    labels = batch.labels[:, 1:]
    taught = labels != -100
    return cross_entropy(model.lm_head(hidden[taught]), labels[taught], weight=weights)


def batches(tokenizer: PreTrainedTokenizerFast, size: int, seed: int) -> Iterator[Batch]:
    """Endless batches of samples of like length, so that little is padding."""
    rng = random.Random(f"lidr-lab order {seed}")
    corpus = samples(seed)
    while True:
        pool = [chat_ids(tokenizer, s.user, s.assistant) for s in islice(corpus, _POOL)]
        pool.sort(key=lambda chat: len(chat[0]) + len(chat[1]))
        groups = list(_groups_of(pool, size))
        rng.shuffle(groups)
        for group in groups:
            yield _collate(group, int(tokenizer.pad_token_id))


def _groups_of(chats: list[Chat], tokens: int) -> Iterator[list[Chat]]:
    group: list[Chat] = []
    for chat in chats:
        if group and (len(group) + 1) * (len(chat[0]) + len(chat[1])) > tokens:
            yield group
            group = []
        group.append(chat)
    yield group


def _collate(chats: list[Chat], pad: int) -> Batch:
    length = max(len(prompt) + len(answer) for prompt, answer in chats)
    ids = torch.full((len(chats), length), pad)
    labels = torch.full((len(chats), length), -100)
    for row, (prompt, answer) in enumerate(chats):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = torch.tensor(answer)
    return Batch(ids, labels)
