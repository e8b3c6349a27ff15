"""LoRA through peft, with a lineage over iterations.

Iteration 1 puts a fresh adapter on M_0. Iteration t+1 goes on training the adapter of M_t, and its reference
is base + adapter_t, cached before the first step. That avoids a known trap: taking "adapter switched off" for
the reference means the base model M_0, so from iteration 2 on one would silently train against M_0 instead of
M_t. Here the adapter is never switched off; `reference=initial` loads M_0 as a model of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lidr.config import LoraConfig
from lidr.errors import LidrError
from lidr.files import whole_folder
from lidr.hashing import sha256
from lidr.models import is_adapter

ADAPTER = "default"
ALL_LINEAR = "all-linear"
LINEAGE = "lineage.json"
WEIGHTS = "adapter_model.safetensors"


def fresh(model: PreTrainedModel, lora: LoraConfig, base: str, revision: str | None, seed: int) -> PeftModel:
    """A new adapter on a whole model; B is 0, so the model's output does not change.

    Args:
        base: what the saved adapter names as its base.
        seed: of A's random values.
    """
    targets: str | list[str] = list(lora.target_modules)
    config = PeftLoraConfig(
        r=lora.rank,
        lora_alpha=cast("int", lora.alpha),  # peft takes any number
        lora_dropout=0.0,  # DPO compares log-probs of one and the same function
        target_modules=ALL_LINEAR if targets in ([], [ALL_LINEAR]) else targets,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            adapted = cast("PeftModel", get_peft_model(model, config))
        except ValueError as error:
            raise LidrError(str(error), where="lora.target_modules") from error
    config = cast("PeftLoraConfig", adapted.peft_config[ADAPTER])
    config.base_model_name_or_path = str(Path(base).resolve()) if Path(base).is_dir() else base
    config.revision = revision
    return adapted


def go_on(model: PreTrainedModel) -> PeftModel:
    """An adapter that was loaded frozen, made trainable again."""
    adapted = cast("PeftModel", model)
    adapted.set_adapter(ADAPTER)
    return adapted


def save_adapter(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, path: Path, *, policy: str, iteration: int
) -> None:
    """Writes a peft folder with the tokenizer and lineage.json.

    Args:
        policy: the model the iteration started from; where it is an adapter, its lineage goes on.
        iteration: t of the M_t that is saved.
    """
    config = cast("PeftLoraConfig", model.peft_config[ADAPTER])
    if not isinstance(config.target_modules, str):
        config.target_modules = sorted(config.target_modules or ())  # a set has no order
    lineage = {"base": config.base_model_name_or_path, "parents": _parents(policy, iteration)}
    with whole_folder(path) as folder:
        model.save_pretrained(str(folder), save_embedding_layers=False)
        tokenizer.save_pretrained(folder)
        (folder / LINEAGE).write_text(json.dumps(lineage, indent=2) + "\n", encoding="utf-8")


def _parents(policy: str, iteration: int) -> list[dict[str, object]]:
    if not is_adapter(policy):
        return []
    folder = Path(policy)
    try:
        earlier = json.loads((folder / LINEAGE).read_text(encoding="utf-8"))["parents"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        earlier = None
    earlier = earlier if isinstance(earlier, list) else []  # an adapter made elsewhere
    return [*earlier, {"iteration": iteration - 1, "adapter_sha256": sha256(folder / WEIGHTS)}]
