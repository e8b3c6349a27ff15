"""The schema of what generates text: engines, and who translates."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Precision(StrEnum):
    FP32 = "fp32"
    BF16 = "bf16"


class EngineKind(StrEnum):
    """transformers: in the stage's own process. vllm: its offline engine. openai: any compatible server."""

    TRANSFORMERS = "transformers"
    VLLM = "vllm"
    OPENAI = "openai"


class EndpointApi(StrEnum):
    """completions: prompts go as text, templated here, so that answers can be primed. chat: as messages."""

    COMPLETIONS = "completions"
    CHAT = "chat"


class TranslatorKind(StrEnum):
    """self: M_t translates its own answers (the paper). engine: another model does. none: nobody does."""

    SELF = "self"
    ENGINE = "engine"
    NONE = "none"


@dataclass(frozen=True)
class ModelConfig:
    name: str
    path: str
    revision: str | None
    precision: Precision
    system_prompt: str | None


@dataclass(frozen=True)
class SamplingConfig:
    """How tokens are chosen; temperature 0 is greedy."""

    max_new_tokens: int
    repetition_penalty: float
    temperature: float = 0.0
    top_p: float = 1.0


@dataclass(frozen=True)
class VllmConfig:
    tensor_parallel: int
    memory_share: float
    eager: bool


@dataclass(frozen=True)
class EndpointConfig:
    """A server that speaks OpenAI's protocol. The key itself is in no configuration, only its variable's name."""

    url: str
    model: str
    api: EndpointApi
    key_variable: str
    concurrency: int
    timeout: float
    retries: int
    budget_tokens: int | None
    budget_cost: float | None
    price_input: float | None
    price_output: float | None


@dataclass(frozen=True)
class EngineConfig:
    name: str
    kind: EngineKind
    batch_size: int
    token_budget: int | None
    processes: int
    sampling: SamplingConfig
    vllm: VllmConfig | None = None
    endpoint: EndpointConfig | None = None
    prompt_lookup: int = 0


@dataclass(frozen=True)
class TranslatorConfig:
    """`engine` and `model` are there exactly where another model translates."""

    name: str
    kind: TranslatorKind
    template: str
    open_tag: str
    close_tag: str
    sampling: SamplingConfig
    engine: EngineConfig | None = None
    model: ModelConfig | None = None
