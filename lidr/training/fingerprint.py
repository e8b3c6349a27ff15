"""Content keys: what a cached file or a checkpoint was made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lidr.config import Precision, RunConfig, to_mapping
from lidr.config.identity import digest, is_runtime
from lidr.hashing import fingerprint
from lidr.models import adapter_base, is_adapter

# What decides which tokens go through the model together, and so the last bits of the log-probs.
_BATCHES = ("global_batch", "token_budget", "layout", "max_length", "too_long")


def model_fingerprint(path: str, revision: str | None) -> Any:
    """A model folder's content (and that of an adapter's base), or a hub id with its revision."""
    folder = Path(path)
    if not folder.is_dir():
        return f"{path}@{revision}"
    if is_adapter(path):
        return {"adapter": fingerprint(folder), "base": model_fingerprint(adapter_base(path), revision)}
    return fingerprint(folder)


def reference_key(config: RunConfig, pairs: str, reference: Any, policy: Any, precision: Precision) -> str:
    """Everything the reference log-probs depend on; `pairs`, `reference`, `policy` are fingerprints.

    The policy counts because its tokenizer makes the batches, and because a fresh adapter belongs to it.
    """
    values = _training_values(config)
    return digest(
        {
            "pairs": pairs,
            "reference": reference,
            "policy": policy,
            "accelerator": config.trainer.accelerator.value,
            "precision": precision.value,
            "seed": config.seed,
            "system_prompt": config.model.system_prompt,
            "lora": values["lora"],
            "batches": {k: getattr(config.training, k) for k in _BATCHES},
            **({"ranks": config.trainer.ranks} if config.trainer.ranks > 1 else {}),
        }
    )


def training_key(
    config: RunConfig, pairs: str, reference: Any, policy: Any, precision: Precision, iteration: int
) -> str:
    """Everything the trained model depends on, except where it is computed; a checkpoint keeps it."""
    return digest(
        {
            **_training_values(config),
            "iteration": iteration,
            "pairs": pairs,
            "reference": reference,
            "policy": policy,
            "precision": precision.value,
        }
    )


def _training_values(config: RunConfig) -> dict[str, Any]:
    values: Mapping[str, Any] = to_mapping(config)
    training = {
        k: v
        for k, v in values["training"].items()
        if k != "checkpoint_steps" and not is_runtime(f"training.{k}")
    }
    return {
        "training": training,
        "objective": values["objective"],
        "lora": values["lora"],
        "seed": values["seed"],
        "system_prompt": values["model"]["system_prompt"],
    }
