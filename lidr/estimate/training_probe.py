"""A few forward and backward passes of the configured training, timed."""

from __future__ import annotations

import gc
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lidr import machine
from lidr.chat import ChatFormat
from lidr.config import Logits, PairType, Precision, RunConfig
from lidr.estimate.speed import TrainingSpeed
from lidr.estimate.training import MeanPair
from lidr.models import load_config, load_tokenizer, whole_weights
from lidr.records import Prompt
from lidr.training import TrainingJob, choices, cost, fusing, policy, support
from lidr.training.batching import Batcher, Step
from lidr.training.choices import Choices
from lidr.training.logprobs import response_log_probs
from lidr.training.microbatch import MicroBatch
from lidr.training.pairs import TokenPair
from lidr.training.quiet import contained
from lidr.training.shapes import ModelShape, Work, flops
from lidr.training.situation import Situation, settings_of

_SECONDS = 2.0  # a single pair that takes longer is measured alone


def probe_training(
    config: RunConfig, path: str, prompts: Sequence[Prompt], expected: Sequence[MeanPair]
) -> tuple[TrainingSpeed | None, str]:
    """Trains on made-up pairs of the expected lengths, with the run's own choices; nothing is kept.

    Args:
        path: folder or hub id of M_t.
        prompts: texts the made-up pairs are filled from.
        expected: the pairs to be expected.

    Returns:
        The speed; or None, and why it was not measured.
    """
    if config.trainer.ranks > 1:
        return None, f"training on {config.trainer.ranks} devices is not measured on one"
    if config.training.compile:
        return None, "training.compile=true: compiling takes minutes, and is not measured"
    with tempfile.TemporaryDirectory(prefix="lidr-check-") as folder, contained(), _threads_kept():
        return _Probe(config, path, Path(folder)).run(prompts, expected)


class _Probe:
    def __init__(self, config: RunConfig, path: str, folder: Path) -> None:
        self.config, self.path = config, path
        pairs, output = folder / "pairs.jsonl", folder / "model"
        self.job = TrainingJob(config, 1, path, path, pairs, None, output, folder)
        self.device = self.job.device
        self.precision = choices.precision_of(config, self.device)
        self.settings = settings_of(config, self.precision, self.device)

    def run(
        self, prompts: Sequence[Prompt], expected: Sequence[MeanPair]
    ) -> tuple[TrainingSpeed | None, str]:
        base, revision = whole_weights(self.path, self.job.revision(self.path))
        shape = ModelShape.of(load_config(base, revision))
        if shape is None:
            return None, "the operations of this kind of model cannot be counted"
        pairs, pad = self._pairs(prompts, expected)
        if not pairs:
            return None, "no pair fits into training.max_length"
        if not self._fits(shape, pairs[0]):
            return None, "a training of this model does not fit into this machine's memory"
        started = time.perf_counter()
        model = policy.load_policy(self.job, self.precision, self.device)
        loaded = time.perf_counter() - started
        with ExitStack() as patches:
            fusing.fuse(model)
            patches.enter_context(fusing.fused_rotary(model))
            speed = self._measure(model, shape, pairs, pad, loaded)
        del model
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return speed, ""

    def _pairs(self, prompts: Sequence[Prompt], expected: Sequence[MeanPair]) -> tuple[list[TokenPair], int]:
        """As many pairs as an optimizer step has, filled with the tokens of real prompts; and the padding's id."""
        chat = ChatFormat(
            load_tokenizer(self.path, self.job.revision(self.path)), self.config.model.system_prompt
        )
        ids = cycle([token for p in prompts[:64] for token in chat.prompt_ids(p.prompt)])
        limit, made = self.config.training.max_length, []
        expected = [pair for pair in expected if pair.prompt < limit]
        for number, pair in zip(range(self.config.training.global_batch), cycle(expected), strict=False):
            prompt = min(round(pair.prompt), limit - 1)
            rows = [min(round(text.expected), limit - prompt) for text in (pair.chosen, pair.rejected)]
            filled = [array("i", islice(ids, max(1, n))) for n in (prompt, *rows)]
            rejected = filled[2] if self.config.objective.name.is_preference else None
            made.append(TokenPair(str(number), "", PairType.NL, filled[0], filled[1], rejected))
        return made, chat.pad_id

    def _fits(self, shape: ModelShape, pair: TokenPair) -> bool:
        """With one pair at a time, chunked logits and checkpointing, the least that training needs."""
        completions = len(pair.chosen) + len(pair.rejected or ())
        least = cost.memory(
            shape, self.settings, pair.tokens, completions, Logits.CHUNKED, checkpointing=True
        )
        return least.total <= cost.SHARE * machine.available_memory(self.device)

    def _measure(
        self, model: PreTrainedModel, shape: ModelShape, pairs: list[TokenPair], pad: int, loaded: float
    ) -> TrainingSpeed:
        step = Step(0, tuple(range(len(pairs))))
        situation = Situation(self.config, self.device, self.precision, tuple(pairs), (step,), pad)
        made = choices.settle(model, situation, self.job.choices)
        support.use_layout(model, made.layout)
        batcher = Batcher(pairs, pad, made.layout, made.token_budget, ahead=made.ahead)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=0.0, fused=True)
        passes = _Passes(self, model, made, optimizer)
        seconds, used = passes.seconds(batcher.micro_batches(Step(0, (0,)))), [pairs[0]]
        parts = batcher.divide(step.pairs)
        if seconds < _SECONDS:
            used = [pairs[i] for i in parts[0]]
            both = [list(batcher.micro_batches(Step(0, tuple(parts[0])))) for _ in range(2)]
            seconds = min(passes.seconds(iter(batches)) for batches in both)
        passes.update()
        work = [_work(pair) for pair in used]
        operations = sum(
            flops(shape, self.settings, w, reference=False).forward
            + flops(shape, self.settings, w, reference=False).backward
            for w in work
        )
        return TrainingSpeed(loaded, operations / seconds, passes.update(), shape, self.settings)


class _Passes:
    """Forward, backward and update of a model, timed."""

    def __init__(
        self, probe: _Probe, model: PreTrainedModel, made: Choices, optimizer: torch.optim.Optimizer
    ) -> None:
        from lidr.training import blocks

        self.probe, self.model, self.made, self.optimizer = probe, model, made, optimizer
        blocks.prepare(model, checkpointing=made.checkpointing, compiled=False)

    def seconds(self, batches: Iterator[MicroBatch]) -> float:
        device, bf16 = self.probe.device, self.probe.precision is Precision.BF16

        def work() -> None:
            for batch in batches:
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    log_probs: Tensor = response_log_probs(
                        self.model,
                        batch.to(device),
                        keep_logits=self.made.keep_logits,
                        keep_weights=self.made.keep_weights,
                    )
                    torch.autograd.backward(-log_probs.mean())

        return self._timed(work)

    def update(self) -> float:
        return self._timed(lambda: self.optimizer.step())

    def _timed(self, work: Callable[[], None]) -> float:
        self._wait()
        started = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.probe.device.type == "cuda":
            torch.cuda.synchronize()


def _work(pair: TokenPair) -> Work:
    return Work.of_pair(len(pair.prompt), len(pair.chosen), len(pair.rejected or ()))


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Training chooses its own number of threads; what is measured next does not."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
