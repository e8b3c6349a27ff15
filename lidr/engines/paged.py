"""transformers' own continuous batching (`generate_batch`'s manager) for CUDA: paged cache, CUDA graphs.

It knows neither a repetition penalty nor a seed for each request, so it serves greedy requests without a penalty, as
translations are; everything else on CUDA runs in `flight`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from transformers import ContinuousBatchingConfig, GenerationConfig, PreTrainedModel

from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion
from lidr.engines.endings import Endings
from lidr.engines.prepare import Prepared
from lidr.errors import StageError

_POLL_SECONDS = 1.0


def serves(model: PreTrainedModel, sampling: SamplingConfig) -> bool:
    """Whether requests are better answered here."""
    greedy = sampling.temperature == 0 and sampling.repetition_penalty == 1
    return model.device.type == "cuda" and greedy and hasattr(model, "continuous_batching_context_manager")


class PagedEngine:
    """Answers prepared requests; they are handed to the manager as earlier ones end.

    Args:
        blocks: of the cache; None for as many as fit into memory.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        chat: ChatFormat,
        endings: Endings,
        batch_size: int,
        blocks: int | None = None,
    ) -> None:
        self.model, self.chat, self.endings = model, chat, endings
        self.batch_size, self.blocks = batch_size, blocks

    def answer(self, requests: Iterable[Prepared], sampling: SamplingConfig) -> Iterator[list[Completion]]:
        """A completion at a time, as they end.

        Raises:
            StageError: the manager failed; what was yielded stands.
        """
        under_way: dict[str, Prepared] = {}
        source = iter(requests)
        first = next(source, None)
        if first is None:
            return
        source = itertools.chain([first], source)
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False,
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=sorted(self.endings.stop_ids),
            pad_token_id=self.chat.pad_id,
        )
        settings = ContinuousBatchingConfig(max_requests_per_batch=self.batch_size, num_blocks=self.blocks)
        managed: Any = self.model.continuous_batching_context_manager
        with managed(generation_config=config, continuous_batching_config=settings) as manager:
            while True:
                for prepared in source:
                    under_way[prepared.request.key] = prepared
                    manager.add_request(prepared.prompt, prepared.request.key, max_new_tokens=prepared.limit)
                    if len(under_way) >= 2 * self.batch_size:
                        break
                if not under_way:
                    return
                output = manager.get_result(timeout=_POLL_SECONDS)
                if output is not None and output.is_finished():
                    if output.error is not None:
                        raise _failed(output.error)
                    prepared = under_way.pop(output.request_id)
                    yield [self.endings.whole(prepared.request, output.generated_tokens, prepared.limit)]
                elif output is None and not manager.is_running():
                    raise _failed("its thread ended")


def _failed(reason: str) -> StageError:
    return StageError(
        f"transformers' continuous batching failed ({reason.splitlines()[0] if reason else 'no reason given'})",
        where="engine",
        instead="run the same command again, it goes on; or type a smaller engine.batch_size",
    )
