"""Content keys: what a cached file or a checkpoint was made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lidr.config import RunConfig, to_mapping
from lidr.config.identity import digest
from lidr.hashing import fingerprint
from lidr.models import adapter_base, is_adapter


def model_fingerprint(path: str, revision: str | None) -> Any:
    """A model folder's content (and that of an adapter's base), or a hub id with its revision."""
    folder = Path(path)
    if not folder.is_dir():
        return f"{path}@{revision}"
    if is_adapter(path):
        return {"adapter": fingerprint(folder), "base": model_fingerprint(adapter_base(path), revision)}
    return fingerprint(folder)


def reference_key(config: RunConfig, pairs: str, reference: Any, policy: Any) -> str:
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
            "precision": config.trainer.precision.value,
            "seed": config.seed,
            "system_prompt": config.model.system_prompt,
            "lora": values["lora"],
            "batches": {
                k: values["training"][k] for k in ("global_batch", "micro_batch", "max_length", "too_long")
            },
        }
    )


def training_key(config: RunConfig, pairs: str, reference: Any, policy: Any, iteration: int) -> str:
    """Everything the trained model depends on, except where it is computed; a checkpoint keeps it."""
    return digest(
        {
            **_training_values(config),
            "iteration": iteration,
            "pairs": pairs,
            "reference": reference,
            "policy": policy,
        }
    )


def _training_values(config: RunConfig) -> dict[str, Any]:
    values: Mapping[str, Any] = to_mapping(config)
    training = {k: v for k, v in values["training"].items() if k != "checkpoint_steps"}
    return {
        "training": training,
        "objective": values["objective"],
        "lora": values["lora"],
        "seed": values["seed"],
        "precision": values["trainer"]["precision"],
        "system_prompt": values["model"]["system_prompt"],
    }
