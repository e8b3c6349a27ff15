"""The schema of a run: what a resolved configuration may say, and which run it names.

YAML (``conf/``) is for people, these frozen dataclasses are for the code: everything inside ``lidr/`` takes
them and never an OmegaConf object. Meaning and unit of every key stand beside it in ``conf/``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from lidr.config.benchmark_schema import BenchmarkKind, LmEvalConfig
from lidr.config.engine_schema import EngineConfig, ModelConfig, TranslatorConfig
from lidr.config.trainer_schema import LoraConfig, TrainerConfig, TrainingConfig
from lidr.config.training_schema import ObjectiveConfig

SCHEMA_VERSION = 1


class PromptFormat(StrEnum):
    """How a prompt file is laid out."""

    JSONL = "jsonl"
    JSON_ARRAY = "json_array"
    LAB = "lab"


class OnIncomplete(StrEnum):
    """What to do with a prompt that is missing, empty or duplicated in some language."""

    ERROR = "error"
    DROP = "drop"


class PromptSchedule(StrEnum):
    FRESH = "fresh"
    REUSE = "reuse"


class Reference(StrEnum):
    """The frozen reference pi_ref of iteration t+1: M_t, or M_0 throughout."""

    PREVIOUS = "previous"
    INITIAL = "initial"


class PairType(StrEnum):
    """nl: (x^l, y^{en->l} over y^l). en: (x^en, y^en over y^{l->en})."""

    NL = "nl"
    EN = "en"


class EnRejected(StrEnum):
    """Which language's answer, translated into en, is rejected in the dominant-language pair."""

    LAST = "last"
    RANDOM = "random"
    ALL = "all"
    WORST = "worst"


class PairControl(StrEnum):
    """Pairs that ask what the method's own are good for.

    swapped: chosen and rejected exchanged. fidelity: (x^l, y^l over y^en) and (x^en, y^en over y^l), nothing
    translated, so that they tell languages apart and nothing else. round_trip: every own answer translated into the
    pair's other language and back, so that both sides are translations and the look of one tells nothing.
    """

    SWAPPED = "swapped"
    FIDELITY = "fidelity"
    ROUND_TRIP = "round_trip"


class RivalName(StrEnum):
    """Other methods' pairs, for comparison with the paper's.

    mapo: of several answers in a language, the one from which the dominant language's answer is most likely as its
    translation over the one from which it is least likely (arXiv 2401.06838).
    """

    MAPO = "mapo"


class TrackingMode(StrEnum):
    WANDB = "wandb"
    OFFLINE = "offline"
    NONE = "none"


class Processes(StrEnum):
    """Every stage that loads a model in a process of its own, or all in this one."""

    SEPARATE = "separate"
    INLINE = "inline"


@dataclass(frozen=True)
class LanguagesConfig:
    dominant: str
    non_dominant: tuple[str, ...]
    unseen: tuple[str, ...] = ()

    @property
    def trained(self) -> tuple[str, ...]:
        """The languages of the loop, dominant first."""
        return (self.dominant, *self.non_dominant)

    @property
    def all(self) -> tuple[str, ...]:
        """Every language of the run, unseen ones last."""
        return (*self.trained, *self.unseen)


@dataclass(frozen=True)
class PromptsConfig:
    name: str
    format: PromptFormat
    root: str | None
    files: tuple[str, ...]
    id_key: str | None
    prompt_key: str
    answer_key: str | None
    strip_language_prefix: bool
    instruction: str | None
    limit: int
    shuffle: bool
    on_incomplete: OnIncomplete


@dataclass(frozen=True)
class FiltersConfig:
    """One switch per reason for which a pair is dropped; thresholds beside them."""

    translation_error: bool
    translation_incomplete_group: bool
    empty: bool
    truncated: bool
    repetition: bool
    repetition_max_share: float
    identical: bool
    off_target_chosen: bool


@dataclass(frozen=True)
class RivalConfig:
    """samples: answers drawn in each non-dominant language, beside the model's own one; temperature, top_p: how."""

    name: RivalName
    samples: int
    temperature: float
    top_p: float


@dataclass(frozen=True)
class PairsConfig:
    types: tuple[PairType, ...]
    en_rejected: EnRejected
    translation_requests: bool
    filters: FiltersConfig
    control: PairControl | None = None
    rival: RivalConfig | None = None
    limit: int | None = None

    def describe(self) -> str:
        """In words, such as ``nl, en; rejected en answer: last``."""
        if self.rival is not None:
            return f"{self.rival.name}: best over worst of {self.rival.samples + 1} answers"
        control = f"; {self.control}" if self.control else ""
        return f"{', '.join(self.types)}; rejected en answer: {self.en_rejected}{control}"


@dataclass(frozen=True)
class BenchmarkConfig:
    """A benchmark whose prompts the model answers."""

    kind: Literal[BenchmarkKind.LAB, BenchmarkKind.ARITHMETIC, BenchmarkKind.FIDELITY]
    prompts: PromptsConfig
    max_new_tokens: int
    repetition_penalty: float
    languages: tuple[str, ...]

    def codes(self, run: LanguagesConfig) -> tuple[str, ...]:
        """The languages to evaluate: its own, or all of the run's."""
        return self.languages or run.all


Benchmark = Annotated[BenchmarkConfig | LmEvalConfig, Field(discriminator="kind")]


@dataclass(frozen=True)
class TrackingConfig:
    mode: TrackingMode
    project: str
    entity: str | None
    group: str | None
    tags: tuple[str, ...]
    sample_pairs: int


@dataclass(frozen=True)
class PathsConfig:
    outputs: str
    data: str | None
    share: bool = True


@dataclass(frozen=True)
class RunConfig:
    """One run, M_0 to M_T, wholly resolved."""

    name: str
    seed: int
    iterations: int
    prompt_schedule: PromptSchedule
    reference: Reference
    processes: Processes
    model: ModelConfig
    languages: LanguagesConfig
    prompts: PromptsConfig
    engine: EngineConfig
    translator: TranslatorConfig
    pairs: PairsConfig
    objective: ObjectiveConfig
    training: TrainingConfig
    lora: LoraConfig
    trainer: TrainerConfig
    tracking: TrackingConfig
    paths: PathsConfig
    evaluation: dict[str, Benchmark] = field(default_factory=dict)
    score: str | None = None

    @property
    def asked_benchmarks(self) -> dict[str, BenchmarkConfig]:
        """Those whose prompts the model answers."""
        return {name: b for name, b in self.evaluation.items() if isinstance(b, BenchmarkConfig)}

    @property
    def lm_eval_benchmarks(self) -> dict[str, LmEvalConfig]:
        """Those that lm-eval runs."""
        return {name: b for name, b in self.evaluation.items() if isinstance(b, LmEvalConfig)}

    @property
    def trains_against_initial(self) -> bool:
        """Whether training reads M_0 as its reference."""
        return self.reference is Reference.INITIAL and self.objective.name.needs_reference
