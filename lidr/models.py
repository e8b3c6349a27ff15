"""Loading of model folders: full models and peft adapters alike, local or from the hub's cache."""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from lidr.config import Accelerator, Precision
from lidr.errors import LidrError

log = logging.getLogger(__name__)

_DTYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16}
_ADAPTER_CONFIG = "adapter_config.json"


def dtype(precision: Precision) -> torch.dtype:
    return _DTYPES[precision]


def torch_device(accelerator: Accelerator) -> torch.device:
    """The device of this process: with several on a machine, the one of its local rank.

    Raises:
        LidrError: this machine has none.
    """
    if accelerator is not Accelerator.CUDA:
        return torch.device(accelerator.value)
    if not torch.cuda.is_available():
        raise LidrError(
            "this machine has no CUDA device", where="trainer.accelerator", instead="type trainer=cpu"
        )
    rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= count:
        raise LidrError(
            f"process {rank} of this machine finds no CUDA device of its own, there are {count}",
            where="engine.processes, trainer.devices",
            instead=f"type {count} at most",
        )
    return torch.device("cuda", rank)


def is_adapter(path: str) -> bool:
    """Whether a model folder holds a peft adapter instead of whole weights."""
    return (Path(path) / _ADAPTER_CONFIG).is_file()


def adapter_base(path: str) -> str:
    """The base model an adapter folder names."""
    return str(adapter_config(path)["base_model_name_or_path"])


def whole_weights(path: str, revision: str | None) -> tuple[str, str | None]:
    """Folder or hub id of a model's whole weights, and their revision: of an adapter folder those of its base."""
    if is_adapter(path):
        return adapter_base(path), adapter_config(path).get("revision")
    return path, revision


def adapter_config(path: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((Path(path) / _ADAPTER_CONFIG).read_text(encoding="utf-8"))
    return config


def load_tokenizer(path: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder or id.

    Raises:
        LidrError: there is none at `path`.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path, revision=revision)
    except (OSError, ValueError) as error:
        raise _not_loadable("tokenizer", path, error) from error
    return tokenizer


def load_model(
    path: str, precision: Precision, device: torch.device, revision: str | None = None
) -> PreTrainedModel:
    """The model of a folder or id, in evaluation mode; for an adapter folder a `peft.PeftModel` around its base.

    Raises:
        LidrError: there is no loadable model at `path`.
    """
    if is_adapter(path):
        return _load_adapter(path, precision, device)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            path, revision=revision, dtype=dtype(precision), use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise _not_loadable("model", path, error) from error
    return _ready(model, device)


def _load_adapter(path: str, precision: Precision, device: torch.device) -> PreTrainedModel:
    from peft import PeftModel

    base_path, revision = whole_weights(path, None)
    base = load_model(base_path, precision, device, revision)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "`is_gradient_checkpointing`"
        )  # between peft 0.21 and transformers 5.23
        adapted: Any = PeftModel.from_pretrained(base, path, is_trainable=False)
    return _ready(adapted, device)


def _ready(model: Any, device: torch.device) -> PreTrainedModel:
    moved: PreTrainedModel = model.to(device).eval()
    return moved


def _not_loadable(what: str, path: str, error: Exception) -> LidrError:
    first = str(error).strip().splitlines()[0]
    return LidrError(
        f"no loadable {what} ({first})",
        where=f"model {path!r}",
        instead="a model folder or hub id: model.path=...",
    )
