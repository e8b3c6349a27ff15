"""The policy as an iteration starts, its reference, and the policy as it ends."""

from __future__ import annotations

from typing import cast

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lidr.config import Layout, Precision
from lidr.models import is_adapter, load_model
from lidr.training import lora, saving, support
from lidr.training.job import TrainingJob


def load_policy(job: TrainingJob, precision: Precision) -> PreTrainedModel:
    """pi_theta: the parameters that train require gradients."""
    model, config = load_reference(job, job.policy, precision), job.config
    if is_adapter(job.policy):
        return cast("PreTrainedModel", lora.go_on(model))
    if config.lora.enabled:
        seed = config.seed + job.iteration
        adapted = lora.fresh(model, config.lora, job.policy, job.revision(job.policy), seed)
        return cast("PreTrainedModel", adapted)
    return model


def load_reference(job: TrainingJob, path: str, precision: Precision) -> PreTrainedModel:
    """A model in the type its weights have while training: fp32 where they train, else the trainer's."""
    held = precision if job.config.lora.enabled else Precision.FP32
    return load_model(path, held, job.device, job.revision(path))


def save_policy(job: TrainingJob, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Writes the model folder, whole or not at all."""
    support.use_layout(policy, Layout.PADDED)
    if job.config.lora.enabled:
        adapted = cast("PeftModel", policy)
        lora.save_adapter(adapted, tokenizer, job.output, policy=job.policy, iteration=job.iteration)
    else:
        saving.save_full(policy, tokenizer, job.output)
