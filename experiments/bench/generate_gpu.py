"""lidr's generation against plain `model.generate` in fixed batches on one GPU: the Llama-3-8B shape, random weights.

    python -m experiments.bench.generate_gpu --out FOLDER
    python -m experiments.bench.generate_gpu --out FOLDER --shape tiny --device cpu --requests 8    # does it run?

Prompts are as long as the paper's. `answers` have a repetition penalty of 1.1 and end at any of so many tokens that
their lengths are spread around --mean-length, as real answers' are; `translations` have no penalty and all run to
their limit, since random weights run in circles: continuous batches gain nothing there, and what is compared is the
speed of a step. A contestant is lidr-<batch_size>, paged-<batch_size> (transformers' continuous batching, for
translations) or generate-<batch>, all with one model in one process. The clock runs from the first request to the last
completion, after a warm-up of as many requests as the batch has, 16 tokens each (paged: of the whole workload).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig, PreTrainedModel

from experiments.bench.generate_plain import PlainGenerate
from experiments.bench.gpu import device_name, say
from experiments.bench.gpu_model import SHAPES, SPECIAL, llama, tokenizer, words
from experiments.bench.pairs import LEVELS, PROMPT_TOKENS
from lidr.chat import ChatFormat
from lidr.config import SamplingConfig
from lidr.engines.base import Completion, Engine, FinishReason, Request
from lidr.engines.endings import stop_ids
from lidr.engines.transformers import TransformersEngine
from lidr.training.shapes import ModelShape

LIDR, PAGED, GENERATE = KINDS = ("lidr", "paged", "generate")
ANSWERS, TRANSLATIONS = WORKLOADS = ("answers", "translations")
DEFAULT = ("lidr-64", "lidr-128", "paged-128", "generate-128")
WARM_UP_TOKENS = 16


@dataclass(frozen=True)
class Run:
    """A contestant's workload, once."""

    contestant: str
    workload: str
    tokens: int
    seconds: float
    peak_bytes: int

    @property
    def speed(self) -> float:
        """Generated tokens a second."""
        return self.tokens / self.seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line for every run, then the ratios."""
    args = arguments().parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device: type --device cpu --shape tiny to try the bench out")
    shape = SHAPES[args.shape]
    say(f"device: {device_name(args.device)}, PyTorch {torch.__version__}")
    model, chat = load(shape, args)
    runs: list[Run] = []
    for number in range(args.rounds):
        requests = draw(shape, args.requests, args.seed + number)
        for workload in args.workloads:
            for contestant in args.contestants:
                if contestant.startswith(PAGED) and workload == ANSWERS:
                    continue
                runs.append(measure(contestant, workload, requests, model, chat, args))
                args.out.mkdir(parents=True, exist_ok=True)
                text = json.dumps([asdict(run) for run in runs], indent=1)
                (args.out / "results.json").write_text(text + "\n", encoding="utf-8")
    for line in summary(runs):
        say(line)
    return 0


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench-generate-gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for results.json")
    parser.add_argument("--contestants", nargs="+", default=DEFAULT, help="lidr-, paged- or generate-<batch>")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    parser.add_argument("--shape", choices=SHAPES, default="llama3-8b")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--requests", type=int, default=128, help="of a workload")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--mean-length", type=int, default=200, help="of answers, in tokens")
    parser.add_argument("--max-new-tokens", type=int, default=512, help="of answers")
    parser.add_argument("--translation-tokens", type=int, default=128, help="of every translation")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def load(shape: ModelShape, args: argparse.Namespace) -> tuple[PreTrainedModel, ChatFormat]:
    """A model whose answers end at one token in --mean-length."""
    torch.manual_seed(0)
    with torch.device(args.device):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(llama(shape), dtype=torch.bfloat16)
    first = len(SPECIAL)
    ends = range(first, first + words(shape) // args.mean_length)
    model.generation_config.eos_token_id = list(ends)
    return model.eval(), ChatFormat(tokenizer(words(shape)), None)


def draw(shape: ModelShape, count: int, seed: int) -> list[Request]:
    """Prompts of random words, as long as the official ones of all languages, in tokens."""
    rng = np.random.default_rng(seed)
    requests = []
    for i in range(count):
        quantiles = list(PROMPT_TOKENS.values())[i % len(PROMPT_TOKENS)]
        length = max(1, round(float(np.interp(rng.uniform(), LEVELS, quantiles))))
        ids = rng.integers(words(shape) // 2, words(shape), length)
        requests.append(Request(str(i), " ".join(f"w{n}" for n in ids)))
    return requests


def measure(
    contestant: str,
    workload: str,
    requests: Sequence[Request],
    model: PreTrainedModel,
    chat: ChatFormat,
    args: argparse.Namespace,
) -> Run:
    """One run, printed."""
    kind, _, size = contestant.partition("-")
    if kind not in KINDS or not size.isdecimal():
        raise SystemExit(f"{contestant!r}: contestants are lidr-, paged- and generate-<batch>")
    answers = workload == ANSWERS
    limit = args.max_new_tokens if answers else args.translation_tokens
    sampling = SamplingConfig(max_new_tokens=limit, repetition_penalty=1.1 if answers else 1.0)
    own = made(kind, int(size), model, chat)
    if kind == PAGED:  # its cache and its graphs are made for a workload
        answered(own, requests, sampling, args.device)
    else:
        short = replace(sampling, max_new_tokens=WARM_UP_TOKENS)
        answered(own, requests[: int(size)], short, args.device)
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    completions = answered(own, requests, sampling, args.device)
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() if args.device == "cuda" else 0
    if isinstance(own, Paged):
        own.close()
    if sorted(c.key for c in completions) != sorted(r.key for r in requests):
        raise SystemExit(f"{contestant} {workload}: not every request was answered once")
    run = Run(contestant, workload, sum(c.tokens for c in completions), seconds, peak)
    say(
        f"{contestant:<14} {workload:<13} {run.speed:9,.0f} tokens/s  {run.tokens:7,} tokens"
        f"  {seconds:6.1f} s  {peak / 2**30:5.1f} GiB"
    )
    return run


def made(kind: str, size: int, model: PreTrainedModel, chat: ChatFormat) -> Engine:
    """A contestant's engine."""
    if kind == LIDR:
        return TransformersEngine(model, chat, size)
    return PlainGenerate(model, chat, size) if kind == GENERATE else Paged(model, chat, size)


class Paged:
    """transformers' own continuous batching; see `lidr.engines.base.Engine`. It knows no repetition penalty."""

    def __init__(self, model: PreTrainedModel, chat: ChatFormat, batch: int) -> None:
        self.model, self.chat, self.batch = model, chat, batch

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """All at once, when all have ended."""
        asked = [r for r in requests if r.key not in done]
        outputs = self.model.generate_batch(  # type: ignore[operator]
            inputs=self.chat.batch_prompt_ids([r.turn for r in asked]),
            generation_config=GenerationConfig(  # type: ignore[no-untyped-call]
                do_sample=sampling.temperature > 0,
                max_new_tokens=sampling.max_new_tokens,
                eos_token_id=sorted(stop_ids(self.model, self.chat)),
                pad_token_id=self.chat.pad_id,
            ),
            continuous_batching_config=ContinuousBatchingConfig(max_requests_per_batch=self.batch),
            persistent_manager=True,
        )
        found = [output.generated_tokens for output in outputs.values()]
        yield [
            Completion(r.key, self.chat.decode(ids), FinishReason.LENGTH, len(ids))
            for r, ids in zip(asked, found, strict=True)
        ]

    def close(self) -> None:
        """Frees its cache."""
        self.model.destroy_cached_continuous_batching_manager()  # type: ignore[operator]


def answered(
    own: Engine, requests: Sequence[Request], sampling: SamplingConfig, device: str
) -> list[Completion]:
    """All completions; the GPU has nothing left to do."""
    completions = [c for some in own.stream(requests, sampling) for c in some]
    if device == "cuda":
        torch.cuda.synchronize()
    return completions


def summary(runs: Sequence[Run]) -> list[str]:
    """Each contestant's median over that of the fastest plain `generate`, and all of its runs."""
    lines = []
    for workload in WORKLOADS:
        speeds: dict[str, list[float]] = {}
        for run in runs:
            if run.workload == workload:
                speeds.setdefault(run.contestant, []).append(run.speed)
        plain = {name: median(own) for name, own in speeds.items() if name.startswith(GENERATE)}
        if not plain:
            continue
        best = max(plain, key=lambda name: plain[name])
        for name, own in speeds.items():
            if name not in plain:
                ratio = median(own) / plain[best]
                spread = f"{min(own) / max(speeds[best]):.2f} to {max(own) / min(speeds[best]):.2f}"
                lines.append(f"{workload:<13} {name} over {best}: {ratio:.2f} ({spread})")
    return lines


if __name__ == "__main__":
    sys.exit(main())
