"""Loading of model folders: full models and peft adapters alike, local or from the hub's cache."""

from __future__ import annotations

import errno
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from lidr import model_folder
from lidr.config import Accelerator, Precision
from lidr.errors import LidrError
from lidr.model_folder import adapter_config, is_adapter
from lidr.printable import short

__all__ = [
    "adapter_base",
    "adapter_config",
    "check_vocabulary",
    "dtype",
    "is_adapter",
    "load_config",
    "load_model",
    "load_tokenizer",
    "torch_device",
    "whole_weights",
]

log = logging.getLogger(__name__)

_DTYPES = {Precision.FP32: torch.float32, Precision.BF16: torch.bfloat16}
_WHOLE = "a whole model folder or a hub id: model.path=..."


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


def adapter_base(path: str) -> str:
    """The base model an adapter folder names."""
    return str(adapter_config(path)["base_model_name_or_path"])


def whole_weights(path: str, revision: str | None) -> tuple[str, str | None]:
    """Folder or hub id of a model's whole weights, and their revision: of an adapter folder those of its base."""
    if is_adapter(path):
        return adapter_base(path), adapter_config(path).get("revision")
    return path, revision


def load_tokenizer(path: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder or id; code that comes with a model is never run.

    Raises:
        LidrError: there is none at `path`.
    """
    with _loading("tokenizer", path):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path, revision=revision, trust_remote_code=False
        )
    return tokenizer


def load_config(path: str, revision: str | None = None) -> Any:
    """The configuration of a model folder or id.

    Raises:
        LidrError: there is none at `path`.
    """
    with _loading("configuration", path):
        return AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)


def load_model(
    path: str, precision: Precision, device: torch.device, revision: str | None = None
) -> PreTrainedModel:
    """The model of a folder or id, in evaluation mode; for an adapter folder a `peft.PeftModel` around its base.

    Weights are read from safetensors alone, and code that comes with a model is never run.

    Raises:
        LidrError: there is no loadable model at `path`, or it lacks some of its weights.
    """
    model_folder.check(path)
    if is_adapter(path):
        return _load_adapter(path, precision, device)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    with _loading("model", path), _without_report():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path,
            revision=revision,
            dtype=dtype(precision),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
        )
        model, found = loaded
    _refuse_random_weights(found, path)
    return _ready(model, device)


def _refuse_random_weights(found: Mapping[str, Any], path: str) -> None:
    """transformers gives weights that are missing, or of another shape, random values and goes on."""
    where = f"model {short(path)!r}"
    if missing := sorted(found["missing_keys"]):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise LidrError(f"the weights lack {short(missing[0])}{more}", where=where, instead=_WHOLE)
    for name, there, wanted in sorted(found["mismatched_keys"]):
        raise LidrError(
            f"the weights' {short(name)} has the shape {list(there)}, its config.json says {list(wanted)}",
            where=where,
            instead=_WHOLE,
        )
    if unused := sorted(found["unexpected_keys"]):
        log.warning("%s: %d tensors are not used, %s first", where, len(unused), short(unused[0]))


@contextmanager
def _without_report() -> Iterator[None]:
    """What transformers prints of a model's weights holds names from its file, and escape sequences."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: str) -> None:
    """Whether the model has a row for every token.

    Raises:
        LidrError: the tokenizer is of another model.
    """
    embeddings: Any = model.get_input_embeddings()
    rows = int(embeddings.weight.shape[0])
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        raise LidrError(
            f"the tokenizer's tokens go up to {largest}, and the model has {rows} embeddings",
            where=f"model {short(path)!r}",
            instead="put the tokenizer of this model into its folder",
        )


def _load_adapter(path: str, precision: Precision, device: torch.device) -> PreTrainedModel:
    from peft import PeftModel

    base_path, revision = whole_weights(path, None)
    base = load_model(base_path, precision, device, revision)
    with warnings.catch_warnings(), _loading("adapter", path):
        warnings.filterwarnings(
            "ignore", "`is_gradient_checkpointing`"
        )  # between peft 0.21 and transformers 5.23
        warnings.filterwarnings("error", ".*missing adapter keys")  # they would be random numbers
        adapted: Any = PeftModel.from_pretrained(base, path, is_trainable=False)
    return _ready(adapted, device)


@contextmanager
def _loading(what: str, path: str) -> Iterator[None]:
    """Says in a line why something of a model cannot be loaded: libraries raise all kinds of errors at it."""
    try:
        yield
    except LidrError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        first = short(lines[0], 300) if lines else ""
        if "custom code" in first or "trust_remote_code" in str(error):
            first = "it needs code of its own, which is never run"
        reason = first if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {first}"
        raise LidrError(
            f"no loadable {what} ({reason.strip(': ')})",
            where=f"model {short(path)!r}",
            instead=_WHOLE,
        ) from error


def _ready(model: Any, device: torch.device) -> PreTrainedModel:
    moved: PreTrainedModel = model.to(device).eval()
    return moved
