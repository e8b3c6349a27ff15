"""What the generation benchmark asks: prompts, stored answers, and the requests of a round."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from experiments.bench.cases import ROOT, SMOLLM2
from experiments.bench.generate_spec import Workload
from experiments.bench.pairs import LEVELS, PROMPT_TOKENS
from lidr.compose import compose_run
from lidr.config import RunConfig
from lidr.engines.base import Completion, FinishReason, Request
from lidr.lab.world import problems, render_prompt
from lidr.prompts import load
from lidr.synthesis.read import directions
from lidr.synthesis.resume import shared_opening
from lidr.synthesis.tags import Tags

ANSWERS, TRANSLATIONS = WORKLOADS = "answers", "translations"
FALLBACK_PROMPTS = 1000

Prompts = Mapping[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Source:
    """Prompts as (id, text) by language, the same ids in the same order; and where they are from, in words."""

    prompts: Prompts
    described: str


def overrides(precision: str, max_new_tokens: int, threads: int, own: Sequence[str] = ()) -> list[str]:
    """lidr's defaults with what the comparison fixes; `own` are a contestant's overrides.

    Raises:
        SystemExit: the model is not there.
    """
    if not (SMOLLM2 / "model.safetensors").is_file():
        raise SystemExit(f"{SMOLLM2} is not there: type make smollm2")
    return [
        "model=smollm2_135m",
        f"model.path='{SMOLLM2}'",
        f"model.precision={precision}",
        "languages=en_es_fr_de",
        "tracking=none",
        "trainer=cpu",
        f"trainer.threads={threads}",
        f"engine.sampling.max_new_tokens={max_new_tokens}",
        f"translator.sampling.max_new_tokens={max_new_tokens}",
        *own,
    ]


def official_root() -> Path | None:
    """The folder of the official prompts: below $LIDR_DATA, or beside the checkout."""
    data = Path(os.environ.get("LIDR_DATA", ROOT.parent / "shared" / "data"))
    return next((r for r in (data / "official", data) if (r / "alpagasus").is_dir()), None)


def source(config: RunConfig, root: Path | None, tokenizer: PreTrainedTokenizerBase) -> Source:
    """The official prompts 0 to 999, or the lab's sentences cut to the same lengths."""
    languages = config.languages.trained
    if root is None:
        return Source(
            from_lab(languages, tokenizer),
            "NOT the official prompts: sentences of the lab, cut to the lengths of the official ones"
            " (LIDR_DATA=<folder that holds alpagasus/> or --prompts names the official ones)",
        )
    configured = compose_run(["prompts=alpagasus", f"prompts.root='{root}'"]).prompts
    aligned = load(replace(configured, files=configured.files[:1]), languages)
    prompts = {code: [(p.id, p.prompt) for p in found] for code, found in aligned.by_language.items()}
    return Source(prompts, f"official Alpagasus prompts, ids 0 to {len(prompts[languages[0]]) - 1}")


def from_lab(languages: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> Prompts:
    """Stories of the lab, cut to lengths that follow the quantiles of the official prompts, in tokens."""
    rng = np.random.default_rng(0)
    levels, stories = rng.uniform(size=FALLBACK_PROMPTS), problems("train")
    made: dict[str, list[tuple[str, str]]] = {}
    for code in languages:
        texts = [
            " ".join(render_prompt(stories[(i + k) % len(stories)], code) for k in range(3))
            for i in range(FALLBACK_PROMPTS)
        ]
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        lengths = [max(1, round(n)) for n in np.interp(levels, LEVELS, PROMPT_TOKENS[code])]
        made[code] = [
            (str(i), str(tokenizer.decode(row[:n])).rstrip("\ufffd "))
            for i, (row, n) in enumerate(zip(ids, lengths, strict=True))
        ]
    return made


def answers(config: RunConfig, prompts: Prompts, count: int, rng: np.random.Generator) -> Workload:
    """`count` prompts, the same ids in every language, one language after the other."""
    ids = rng.choice(len(next(iter(prompts.values()))), size=-(-count // len(prompts)), replace=False)
    requests = [
        Request(f"{code}/{prompts[code][i][0]}", prompts[code][i][1]) for code in prompts for i in ids
    ]
    return Workload(ANSWERS, tuple(requests), config.engine.sampling)


def translations(
    config: RunConfig, stored: Sequence[Completion], count: int, rng: np.random.Generator
) -> Workload:
    """`count` stored answers to translate, half of them into the dominant language, in the order of the files.

    As in the loop, what is empty or cut off is not sent.

    Args:
        stored: answers under the keys `<language>/<id>`.

    Raises:
        SystemExit: none of them can be translated.
    """
    tags, dominant = Tags(config.translator), config.languages.dominant
    usable: dict[str, list[tuple[str, str]]] = {code: [] for code in config.languages.trained}
    for answer in stored:
        if answer.text.strip() and answer.finish_reason is FinishReason.STOP:
            language, _, identity = answer.key.partition("/")
            usable[language].append((identity, answer.text))
    possible = [
        (src, tgt, identity, text)
        for src, tgt in directions(config.languages)
        for identity, text in usable[src]
    ]
    if not possible:
        raise SystemExit("no stored answer ended: none can be translated")
    into = [i for i, (_, tgt, *_) in enumerate(possible) if tgt == dominant]
    out_of = [i for i, (src, *_) in enumerate(possible) if src == dominant]
    asked = [
        (src, tgt, identity, tags.request(text, src, tgt))
        for src, tgt, identity, text in (possible[i] for i in balanced(out_of, into, count, rng))
    ]
    wording = {
        way: shared_opening(user for *own, _, user in asked if tuple(own) == way)
        for way in directions(config.languages)
    }
    requests = [
        Request(
            f"{src}-{tgt}/{identity}",
            user,
            config.translator.open_tag,
            (config.translator.close_tag,),
            opening=wording[src, tgt],
        )
        for src, tgt, identity, user in asked
    ]
    return Workload(TRANSLATIONS, tuple(requests), config.translator.sampling)


def balanced(first: Sequence[int], second: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
    """`count` numbers, half from each list, sorted; where one has too few, the other gives more, if it can."""
    of_first = min(len(first), max(count // 2, count - len(second)))
    of_second = min(len(second), count - of_first)
    drawn = [*rng.choice(first, of_first, replace=False), *rng.choice(second, of_second, replace=False)]
    return sorted(int(i) for i in drawn)
