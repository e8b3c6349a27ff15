"""Forward passes of one model over rows that come and go.

Every pass is one row of tokens without padding between them; it is filled up to a multiple of a few tokens, since
the matrix products of very few rows round otherwise than those of more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from lidr.attention_interface import base_model
from lidr.engines.cached_attention import CACHED, Newest, Pass, Prompts
from lidr.engines.cohort import NO_PREFIX, Cohort, KeysValues, Prefix
from lidr.engines.native.step import NativeNewest, native
from lidr.engines.queries import Queries

_ROWS_A_THREAD = 4


class Decoder:
    """A model whose attention keeps what it has seen in cohorts.

    Args:
        model: in evaluation mode; its attention is routed through `cached_attention` from now on.
    """

    room = math.inf  # tokens of a row at most

    def __init__(self, model: PreTrainedModel) -> None:
        self.model, self.device = model, model.device
        self.native = native(model.device, model.dtype, _head_width(model))
        base_model(model).set_attn_implementation(CACHED)

    def prefix(self, ids: Sequence[int]) -> Prefix:
        """Computes what prompts begin with."""
        if not ids:
            return NO_PREFIX
        cohort = Cohort([ids], self.device)
        self._prompts(cohort, [NO_PREFIX])
        cut = {i: KeysValues(*(t[:, :, : len(ids)] for t in kept)) for i, kept in cohort.layers.items()}
        return Prefix(ids, cut)

    def admit(
        self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix]
    ) -> tuple[Cohort, Float[Tensor, "rows vocabulary"]]:
        """A new cohort, and the logits after each of its prompts.

        Args:
            prefixes: what each prompt begins with; the prompt is longer.
        """
        cohort = Cohort(prompts, self.device)
        return cohort, self._prompts(cohort, prefixes)

    def settled(self, cohort: Cohort) -> Cohort:
        """Where the rows of a new cohort are answered from now on, behind those that are there already."""
        return cohort

    def step(self, queries: Sequence[Queries]) -> Float[Tensor, "time vocabulary"]:
        """The logits after each row's newest token and after its guesses, cohort after cohort."""
        tokens = torch.cat([own.tokens for own in queries])
        positions = torch.cat([own.positions for own in queries])
        own = Newest(queries) if self.native is None else NativeNewest(self.native, queries)
        return self._forward(tokens, positions, own, torch.arange(len(tokens)))

    def _prompts(self, cohort: Cohort, prefixes: Sequence[Prefix]) -> Tensor:
        own = [slice(len(p), end) for p, end in zip(prefixes, cohort.lengths, strict=True)]
        tokens = torch.cat([row[place] for row, place in zip(cohort.tokens, own, strict=True)])
        positions = torch.cat([torch.arange(p.start, p.stop, device=self.device) for p in own])
        last = torch.tensor([p.stop - p.start for p in own]).cumsum(0) - 1
        return self._forward(tokens, positions, Prompts(cohort, prefixes), last)

    @torch.inference_mode()
    def _forward(
        self, tokens: Int[Tensor, " time"], positions: Int[Tensor, " time"], own: Pass, wanted: Tensor
    ) -> Tensor:
        """fp32 logits at the wanted positions."""
        output: Any = self.model(
            input_ids=_filled(tokens)[None],
            position_ids=_filled(positions)[None],
            use_cache=False,
            logits_to_keep=_filled(wanted.to(self.device)),
            lidr_pass=own,
        )
        logits: Tensor = output.logits[0, : len(wanted)]
        return logits.float()


def _head_width(model: PreTrainedModel) -> int:
    config = base_model(model).config.get_text_config()
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _filled(values: Int[Tensor, " some"]) -> Int[Tensor, " more"]:
    """Up to a multiple of a few rows for each thread."""
    missing = -len(values) % (_ROWS_A_THREAD * max(2, torch.get_num_threads()))
    return torch.cat([values, values[:1].expand(missing)])
