"""The configured engine around one model."""

from __future__ import annotations

import torch

from lidr.chat import ChatFormat
from lidr.config import RunConfig
from lidr.engines.base import Engine
from lidr.engines.transformers import TransformersEngine
from lidr.models import load_model, load_tokenizer, torch_device


def load_engine(config: RunConfig, model: str) -> Engine:
    """Loads a model folder or hub id into the configured engine."""
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    device = torch_device(config.trainer.accelerator)
    chat = ChatFormat(load_tokenizer(model, config.model.revision), config.model.system_prompt)
    loaded = load_model(model, config.model.precision, device, config.model.revision)
    return TransformersEngine(loaded, chat, config.engine.batch_size, config.seed)
