"""The policy as an iteration starts, its reference, and the policy as it ends."""

from __future__ import annotations

from typing import cast

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lidr.config import Layout, Precision
from lidr.models import is_adapter, load_model
from lidr.training import lora, saving, sharding, support
from lidr.training.job import TrainingJob
from lidr.training.ranks import Ranks


def load_policy(job: TrainingJob, precision: Precision, device: torch.device) -> PreTrainedModel:
    """pi_theta: the parameters that train require gradients."""
    model, config = load_reference(job, job.policy, precision, device), job.config
    if is_adapter(job.policy):
        return cast("PreTrainedModel", lora.go_on(model))
    if config.lora.enabled:
        seed = config.seed + job.iteration
        adapted = lora.fresh(model, config.lora, job.policy, job.revision(job.policy), seed)
        return cast("PreTrainedModel", adapted)
    return model


def load_reference(
    job: TrainingJob, path: str, precision: Precision, device: torch.device
) -> PreTrainedModel:
    """A model in the type its weights have while training: fp32 where they train, else the trainer's."""
    held = precision if job.config.lora.enabled else Precision.FP32
    return load_model(path, held, device, job.revision(path))


def unsharded(
    job: TrainingJob, policy: PreTrainedModel, precision: Precision, ranks: Ranks
) -> PreTrainedModel:
    """A sharded policy as one model in the host's memory, on the first rank; the others only send their shares."""
    state = sharding.gather(policy)
    if not ranks.first:
        return policy
    model = load_policy(job, precision, torch.device("cpu"))
    model.load_state_dict(state)
    return model


def save_policy(job: TrainingJob, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Writes the model folder, whole or not at all."""
    support.use_layout(policy, Layout.PADDED)
    if job.config.lora.enabled:
        adapted = cast("PeftModel", policy)
        lora.save_adapter(adapted, tokenizer, job.output, policy=job.policy, iteration=job.iteration)
    else:
        saving.save_full(policy, tokenizer, job.output)
