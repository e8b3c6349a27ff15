"""Pretraining of M_0: a plain loop over length-sorted batches, the same bits from the same seed."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
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
    """How long and how fast M_0 learns; lengths are in steps, `batch` in samples.

    `content_weight` is the loss weight of numbers and objects: the words around them are soon known.
    """

    steps: int = 8000
    batch: int = 768
    content_weight: float = 5.0
    learning_rate: float = 2e-3
    final_share: float = 0.02
    warm_up: int = 200
    weight_decay: float = 0.1
    clip: float = 1.0


class Batch(NamedTuple):
    """Token ids `[samples, length]` padded on the right, and the labels, -100 outside the assistant's turn."""

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
        initializer_range=float(os.environ.get("INIT", "0.08")),
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
    """M_0 of a seed; `progress` is told step, steps and loss after each step."""
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(model_config(tokenizer))
        if FOURIER:
            _arrange_numbers(model, tokenizer)
        model.train()
        optimizers = make_opt(model, recipe)
        weights = _token_weights(tokenizer, recipe)
        started = time.monotonic()
        for step, batch in enumerate(islice(batches(tokenizer, recipe.batch, seed), recipe.steps)):
            for group in [g for o in optimizers for g in o.param_groups]:
                group["lr"] = group["base"] * schedule(step, recipe)
            loss = _loss(model, batch, weights)
            global MODEL
            MODEL = model
            model.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            [o.step() for o in optimizers]
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


def _groups(model: LlamaForCausalLM, recipe: Recipe) -> list[dict[str, object]]:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    return [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


import os

FOURIER = int(os.environ.get("FOURIER", "1"))
MUON = int(os.environ.get("MUON", "0"))
MLR = float(os.environ.get("MLR", "0.004"))


def make_opt(model, recipe):
    hid = [p for n, p in model.named_parameters() if p.dim() > 1 and "embed" not in n]
    emb = [p for n, p in model.named_parameters() if p.dim() > 1 and "embed" in n]
    vec = [p for p in model.parameters() if p.dim() <= 1]
    lr = recipe.learning_rate
    if MUON:
        os_ = [
            torch.optim.Muon(
                hid,
                lr=MLR,
                weight_decay=recipe.weight_decay,
                momentum=0.95,
                adjust_lr_fn="match_rms_adamw",
                ns_steps=5,
            ),
            torch.optim.AdamW(
                [{"params": emb, "weight_decay": 0.01}, {"params": vec, "weight_decay": 0.0}],
                lr=lr,
                betas=(0.9, 0.98),
            ),
        ]
    else:
        os_ = [
            torch.optim.AdamW(
                [
                    {"params": hid, "weight_decay": recipe.weight_decay},
                    {"params": emb, "weight_decay": recipe.weight_decay},
                    {"params": vec, "weight_decay": 0.0},
                ],
                lr=lr,
                betas=(0.9, 0.98),
            )
        ]
    for o in os_:
        for g in o.param_groups:
            g["base"] = g["lr"]
    return os_


@torch.no_grad()
def _arrange_numbers(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Start number embeddings as points on circles of several periods, so that the number line is there at once."""
    numbers = torch.arange(100.0)
    periods = torch.tensor([2.0, 4.0, 5.0, 10.0, 20.0, 33.0, 50.0, 100.0, 200.0])
    angles = 2 * math.pi * numbers[:, None] / periods
    waves = torch.cat([angles.cos(), angles.sin()], dim=1)
    embedding = model.get_input_embeddings().weight
    for number in range(100):
        token, *rest = tokenizer.encode(str(number), add_special_tokens=False)
        if rest:
            continue
        embedding[token, : waves.shape[1]] += FSC * waves[number]


FSC = float(os.environ.get("FSC", "0.04"))


def _token_weights(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Tensor:
    weights = torch.ones(len(tokenizer))
    for word in [*map(str, range(10)), *object_words()]:
        weights[tokenizer.encode(word, add_special_tokens=False)] = recipe.content_weight
    return weights


def _loss(model: LlamaForCausalLM, batch: Batch, weights: Tensor) -> Tensor:
    hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state[:, :-1]
    labels = batch.labels[:, 1:]
    taught = labels != -100
    lg = model.lm_head(hidden[taught])
    y = labels[taught]
    with torch.no_grad():
        ce = cross_entropy(lg, y, reduction="none")
        isn = NUM[y]
        DIAG.append(
            (
                ce[isn].mean().item(),
                ce[(weights[y] > 1) & ~isn].mean().item(),
                ce[weights[y] == 1].mean().item(),
            )
        )
    return cross_entropy(lg, y, weight=weights)


DIAG = []
NUM = torch.zeros(5000, dtype=torch.bool)


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
