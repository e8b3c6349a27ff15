"""The configured engine around one model; one that sends a server messages needs no torch, nor waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lidr.config import Accelerator, EngineConfig, EngineKind, ModelConfig, RunConfig, TranslatorKind
from lidr.engines.base import Engine
from lidr.importing import importing
from lidr.paths import resolve_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lidr.chat import ChatFormat


@dataclass(frozen=True)
class Place:
    """Where and with which seed an engine runs; threads: of PyTorch, None for its own choice."""

    accelerator: Accelerator
    threads: int | None
    seed: int

    @classmethod
    def of(cls, config: RunConfig) -> Self:
        """A run's."""
        return cls(config.trainer.accelerator, config.trainer.threads, config.seed)


def load_engine(config: RunConfig, model: str, iteration: int, ledger: Path) -> Engine:
    """The engine that answers with M_t.

    Args:
        model: folder or hub id of M_t.
        iteration: t.
        ledger: where an engine that is paid for keeps what the run has used.
    """
    return engine_of(Place.of(config), config.engine, config.model, model, iteration, ledger)


def load_translator(config: RunConfig, model: str, iteration: int, ledger: Path) -> Engine:
    """The engine that translates: M_t itself, or the model of `translator.model`."""
    translator = config.translator
    if translator.kind is TranslatorKind.SELF or translator.engine is None or translator.model is None:
        return load_engine(config, model, iteration, ledger)
    path = resolve_model(translator.model.path)
    section = "engine" if translator.engine == config.engine else "translator.engine"
    return engine_of(Place.of(config), translator.engine, translator.model, path, iteration, ledger, section)


def load_scorer(config: RunConfig, model: str) -> Engine:
    """What scores given texts by the translator's model, M_t itself or another: always transformers, in this process.

    Args:
        model: folder or hub id of M_t.
    """
    with importing():
        from lidr.engines.scorer import Scorer
    place, other = Place.of(config), config.translator.model
    _set_threads(place)
    if other is None:
        return Scorer(*_loaded(place, config.model, model))
    return Scorer(*_loaded(place, other, resolve_model(other.path)))


def engine_of(
    place: Place,
    engine: EngineConfig,
    model: ModelConfig,
    path: str,
    iteration: int,
    ledger: Path,
    section: str = "engine",
) -> Engine:
    """An engine around one model.

    Args:
        path: folder or hub id of the model.
        iteration, ledger: as of `load_engine`.
        section: where the engine stands in the configuration, for messages.
    """
    if engine.kind is EngineKind.OPENAI:
        from lidr.engines.openai import OpenAIEngine

        return OpenAIEngine(engine, model, path, iteration, ledger, place.seed, section)
    _set_threads(place)
    if engine.kind is EngineKind.VLLM:
        from lidr.engines.vllm import VllmEngine

        return VllmEngine(engine, model, path, place.accelerator, place.seed)
    with importing():
        from lidr.engines.transformers import TransformersEngine
    loaded, chat = _loaded(place, model, path)
    return TransformersEngine(
        loaded, chat, engine.batch_size, engine.token_budget, place.seed, section, engine.prompt_lookup
    )


def _set_threads(place: Place) -> None:
    with importing():
        import torch
    if place.threads is not None:
        torch.set_num_threads(place.threads)


def _loaded(place: Place, model: ModelConfig, path: str) -> tuple[PreTrainedModel, ChatFormat]:
    """A model in this process, and how its tokenizer writes a chat."""
    with importing():
        from lidr.chat import ChatFormat
        from lidr.models import check_vocabulary, load_model, load_tokenizer, torch_device
    tokenizer = load_tokenizer(path, model.revision)
    chat = ChatFormat(tokenizer, model.system_prompt)
    loaded = load_model(path, model.precision, torch_device(place.accelerator), model.revision)
    check_vocabulary(loaded, tokenizer, path)
    return loaded, chat
