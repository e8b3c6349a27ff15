"""The tensors of pairs that go through the model together, in each of the three layouts.

    padded   a right-padded row per sequence, prompt + response
    packed   one row, sequence after sequence, none of them padded
    shared   one row, [prompt | chosen | rejected] per pair: the prompt is computed once

A response's last token predicts nothing, so that packed rows leave it out. They end in padding up to a multiple of
`ROWS` tokens, a sequence of its own from which nothing is taken: a product of 1,761 rows takes longer than one of
1,768.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from lidr.config import Layout
from lidr.training.pairs import TokenPair
from lidr.training.segments import Segment, Segments
from lidr.training.shapes import causal

ROWS = 8


class MicroBatch(NamedTuple):
    """Pairs of one forward pass. Responses are ordered chosen ones first, then rejected ones.

    Attributes:
        pairs: index of each pair; none in a filler, whose sequences count for nothing.
        input_ids: tokens.
        position_ids: of each token of a packed row in its own sequence; None for padded rows.
        attention_mask: 1 for a token, 0 for padding; None in a packed row.
        segments: which tokens of a packed row belong together; None for padded rows.
        before_response: flat positions whose next token is a response token, response by response.
        targets: those tokens.
        response_lengths: |y| of each response, tokens, end of turn included.
    """

    pairs: Int[Tensor, " pairs"]
    input_ids: Int[Tensor, "rows time"]
    position_ids: Int[Tensor, "rows time"] | None
    attention_mask: Int[Tensor, "rows time"] | None
    segments: Segments | None
    before_response: Int[Tensor, " tokens"]
    targets: Int[Tensor, " tokens"]
    response_lengths: Int[Tensor, " responses"]

    @property
    def chosen_lengths(self) -> Int[Tensor, " pairs"]:
        return self.response_lengths[: len(self.pairs)]

    def to(self, device: torch.device, **options: Any) -> MicroBatch:
        options.setdefault("non_blocking", True)
        return MicroBatch(*(None if field is None else _to(field, device, options) for field in self))  # type: ignore[arg-type]


def _to(field: Tensor | Segments, device: torch.device, options: dict[str, Any]) -> Tensor | Segments:
    return field.to(device) if isinstance(field, Segments) else field.to(device, **options)


def forward_tokens(pair: TokenPair, layout: Layout) -> int:
    """Tokens of a pair in a forward pass; with padding to its own longer row where rows are padded."""
    responses = (pair.chosen,) if pair.rejected is None else (pair.chosen, pair.rejected)
    if layout is Layout.PADDED:
        return len(responses) * pair.longest
    prompts = 1 if layout is Layout.SHARED else len(responses)
    return prompts * len(pair.prompt) + sum(len(response) - 1 for response in responses)


def with_padding(tokens: int) -> int:
    """Length of a packed row of so many tokens."""
    return -(-tokens // ROWS) * ROWS


def attended(pair: TokenPair, layout: Layout) -> int:
    """Pairs of a query and a key in attention over a packed pair."""
    prompt, responses = len(pair.prompt), [len(pair.chosen) - 1]
    if pair.rejected is not None:
        responses.append(len(pair.rejected) - 1)
    once = causal(prompt) * (1 if layout is Layout.SHARED else len(responses))
    return once + sum(causal(length, prompt) for length in responses)


def make(pairs: Sequence[TokenPair], indices: Sequence[int], layout: Layout, pad_id: int) -> MicroBatch:
    """The micro-batch of some pairs, by index."""
    chosen = [pairs[i] for i in indices]
    if layout is Layout.PADDED:
        return _padded(chosen, indices, pad_id)
    return _packed(chosen, indices, pad_id, share=layout is Layout.SHARED)


def filler(pairs: Sequence[TokenPair], index: int, layout: Layout, pad_id: int) -> MicroBatch:
    """Gives a rank without pairs something to do while the others work: all run equally many passes."""
    return make(pairs, [index], layout, pad_id)._replace(pairs=torch.empty(0, dtype=torch.long))


def _padded(pairs: Sequence[TokenPair], indices: Sequence[int], pad_id: int) -> MicroBatch:
    sequences = _sequences(pairs)
    time = max(len(prompt) + len(response) for prompt, response in sequences)
    input_ids = torch.full((len(sequences), time), pad_id)
    attention_mask = torch.zeros((len(sequences), time), dtype=torch.long)
    before = []
    for row, (prompt, response) in enumerate(sequences):
        end = len(prompt) + len(response)
        input_ids[row, :end] = _ids(prompt + response)
        attention_mask[row, :end] = 1
        before.append(row * time + torch.arange(len(prompt) - 1, end - 1))
    return MicroBatch(
        pairs=torch.tensor(indices),
        input_ids=input_ids,
        position_ids=None,
        attention_mask=attention_mask,
        segments=None,
        before_response=torch.cat(before),
        **_responses(sequences),
    )


def _packed(pairs: Sequence[TokenPair], indices: Sequence[int], pad_id: int, *, share: bool) -> MicroBatch:
    row = _Row()
    before: list[list[Tensor]] = []
    for pair in pairs:
        start = row.length
        places = [row.begin(pair.prompt, pair.chosen)]
        if pair.rejected is not None:
            places.append(
                row.go_on(start, len(pair.prompt), pair.rejected)
                if share
                else row.begin(pair.prompt, pair.rejected)
            )
        before.append(places)
    row.pad(pad_id)
    return MicroBatch(
        pairs=torch.tensor(indices),
        input_ids=_ids(row.ids)[None],
        position_ids=torch.cat(row.positions)[None],
        attention_mask=None,
        segments=Segments(row.segments),
        before_response=torch.cat([place for kind in zip(*before, strict=True) for place in kind]),
        **_responses(_sequences(pairs)),
    )


class _Row:
    """A packed row under construction."""

    def __init__(self) -> None:
        self.ids: array[int] = array("i")
        self.positions: list[Tensor] = []
        self.segments: list[Segment] = []

    @property
    def length(self) -> int:
        return len(self.ids)

    def begin(self, prompt: array[int], response: array[int]) -> Tensor:
        """Adds a sequence of its own; returns the positions before its response tokens."""
        start, tokens = self.length, prompt + response[:-1]
        self._add(tokens, 0, Segment(start, start + len(tokens), start, start))
        return torch.arange(start + len(prompt) - 1, self.length)

    def go_on(self, prompt_start: int, prompt_length: int, response: array[int]) -> Tensor:
        """Adds a response to a prompt that lies earlier in the row."""
        start, tokens, prompt_end = self.length, response[:-1], prompt_start + prompt_length
        if tokens:
            self._add(tokens, prompt_length, Segment(start, start + len(tokens), prompt_start, prompt_end))
        return torch.cat([torch.tensor([prompt_end - 1]), torch.arange(start, self.length)])

    def pad(self, pad_id: int) -> None:
        """Fills the row up."""
        start, end = self.length, with_padding(self.length)
        if start < end:
            self._add(array("i", [pad_id] * (end - start)), 0, Segment(start, end, start, start))

    def _add(self, tokens: array[int], position: int, segment: Segment) -> None:
        self.ids.extend(tokens)
        self.positions.append(torch.arange(position, position + len(tokens)))
        self.segments.append(segment)


def _sequences(pairs: Sequence[TokenPair]) -> list[tuple[array[int], array[int]]]:
    """Prompt and response of each sequence, chosen ones first."""
    chosen = [(pair.prompt, pair.chosen) for pair in pairs]
    return chosen + [(pair.prompt, pair.rejected) for pair in pairs if pair.rejected is not None]


def _responses(sequences: Sequence[tuple[array[int], array[int]]]) -> dict[str, Tensor]:
    return {
        "targets": torch.cat([_ids(response) for _, response in sequences]),
        "response_lengths": torch.tensor([len(response) for _, response in sequences]),
    }


def _ids(tokens: array[int]) -> Tensor:
    return torch.frombuffer(tokens, dtype=torch.int32).long()
