"""Building M_0 from a seed: tokenizer, pretraining, measurement, and the record of it all."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from lidr.errors import LidrError
from lidr.lab.measure import metrics
from lidr.lab.pretrain import Progress, Recipe, one_thread, pretrain
from lidr.lab.tokenizer import train_tokenizer
from lidr.lab.world import problems

log = logging.getLogger(__name__)
RECORD = "build.json"


def build(
    output: Path, seed: int = 0, steps: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Make M_0 in `output`, a folder that transformers loads, with its measurements in `build.json`.

    Args:
        output: made if missing; files of an earlier build are replaced.
        seed: of the corpus, its order and the first weights; the same seed gives the same weights to the
            bit on the same machine and library versions.
        steps: of pretraining; the recipe's own number if None.
        progress: called with step, steps and loss.

    Returns:
        The content of `build.json`.
    """
    if steps is not None and steps < 1:
        raise LidrError(
            f"The lab cannot be built in {steps} steps.", instead="give 1 or more, or leave it out"
        )
    recipe = Recipe() if steps is None else replace(Recipe(), steps=steps)
    started = time.monotonic()
    tokenizer = train_tokenizer(seed)
    model = pretrain(tokenizer, recipe, seed, progress)
    seconds = time.monotonic() - started
    _save(output, model, tokenizer)
    with one_thread():
        measured = metrics(model, tokenizer, problems("test"))
    record = {
        "seed": seed,
        "steps": recipe.steps,
        "seconds": round(seconds, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "sha256": hashlib.sha256((output / "model.safetensors").read_bytes()).hexdigest(),
        "recipe": asdict(recipe),
        "versions": _versions(),
        **measured,
    }
    (output / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    log.info("lab model of seed %d written to %s in %.0f s", seed, output, seconds)
    return record


def _save(output: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    output.mkdir(parents=True, exist_ok=True)
    model.generation_config.update(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
    (output / "model.safetensors").chmod(0o644)


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }
