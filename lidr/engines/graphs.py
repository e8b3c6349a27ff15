"""Forward passes on CUDA that are captured once and replayed: a pass of few rows is launched by one call.

A step's kernels take less time than Python takes to launch them one by one. A graph is captured for every
eighth of the rows; a model whose code cannot be captured, since it waits for the GPU, is called as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from lidr.engines.cohort import Cohort
from lidr.engines.decoder import Decoder
from lidr.engines.queries import Queries
from lidr.engines.slot_attention import SlotPass
from lidr.engines.slots import Slots
from lidr.memory import ran_out

log = logging.getLogger(__name__)
_SIZES = 8  # of passes, at most


def has_graphs(device: torch.device) -> bool:
    """Whether passes there are captured."""
    return device.type == "cuda"


class _Captured(NamedTuple):
    graph: torch.cuda.CUDAGraph
    logits: Tensor


class GraphDecoder(Decoder):
    """A decoder whose rows lie in slots.

    Args:
        model: in evaluation mode.
        places: rows at most.
        room: tokens of a row at most.
        captures: whether passes are captured, where they can be.
    """

    def __init__(self, model: PreTrainedModel, places: int, room: int, *, captures: bool = True) -> None:
        super().__init__(model)
        self.slots, self.room = Slots(places, room, self.device), room
        self._inputs = torch.zeros(2, places, dtype=torch.long, device=self.device)
        self._captures = captures and has_graphs(self.device)
        self._graphs: dict[int, _Captured] = {}

    def settled(self, cohort: Cohort) -> Cohort:
        """See `Decoder`."""
        self.slots.join(cohort)
        return self.slots

    @torch.inference_mode()
    def step(self, queries: Sequence[Queries]) -> Float[Tensor, "time vocabulary"]:
        """See `Decoder`; what was returned before is overwritten."""
        rows = len(self.slots)
        part = -(-self.slots.places // _SIZES)
        size = min(self.slots.places, -(-rows // part) * part)
        own = torch.tensor([self.slots.newest, self.slots.lengths])
        self._inputs[:, :rows].copy_(own, non_blocking=True)
        self._inputs[:, rows:size].zero_()
        if self.device.type != "cuda":
            return self._logits(size)[:rows]
        with torch.cuda.device(self.device):  # a graph is captured on the current device
            return self._logits(size)[:rows]

    def _logits(self, size: int) -> Float[Tensor, "size vocabulary"]:
        captured = self._graphs.get(size)
        if captured is not None:
            captured.graph.replay()
            return captured.logits
        logits = self._passed(size)
        if self._captures:
            self._capture(size)
        return logits

    def _passed(self, size: int) -> Tensor:
        tokens, lengths = self._inputs[:, :size]
        output: Any = self.model(
            input_ids=tokens[None],
            position_ids=lengths[None],
            use_cache=False,
            lidr_pass=SlotPass(self.slots.layers, lengths),
        )
        logits: Tensor = output.logits[0]
        return logits.float()

    def _capture(self, size: int) -> None:
        """After a pass that was not captured, since the first one loads kernels."""
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self._graphs.values())).graph.pool() if self._graphs else None
        try:
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                logits = self._passed(size)
        except RuntimeError as error:
            if ran_out(error):
                raise
            log.info("passes are not captured: %s", (str(error).splitlines() or ["no reason given"])[0])
            self._captures = False
            return
        self._graphs[size] = _Captured(graph, logits)
