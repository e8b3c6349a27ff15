"""The stages of a run: their order, what each reads, and which configuration values define it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lidr.config import PairControl, RunConfig, identity_values
from lidr.errors import LidrError, did_you_mean

_MODEL = ("model.",)
_DATA = ("languages.", "seed")
_CONTROL = "pairs.control"
_RIVAL = "pairs.rival."


class StageKind(StrEnum):
    PROMPTS = "prompts"
    RESPONSES = "responses"
    TRANSLATIONS = "translations"
    SAMPLES = "samples"
    SCORES = "scores"
    PAIRS = "pairs"
    TRAINING = "training"
    EVALUATION = "evaluation"

    @property
    def loads_model(self) -> bool:
        return self not in (StageKind.PROMPTS, StageKind.PAIRS)

    @property
    def config_keys(self) -> tuple[str, ...]:
        """Prefixes of the dotted keys that define the stage's result, its inputs given."""
        return {
            StageKind.PROMPTS: ("prompts.", "prompt_schedule", *_DATA),
            StageKind.RESPONSES: ("engine.", *_MODEL, *_DATA),
            StageKind.TRANSLATIONS: ("engine.", "translator.", *_MODEL, *_DATA),
            StageKind.SAMPLES: ("engine.", _RIVAL, *_MODEL, *_DATA),
            StageKind.SCORES: ("translator.", _RIVAL, *_MODEL, *_DATA),
            StageKind.PAIRS: ("pairs.", *_DATA),
            StageKind.TRAINING: (
                "objective.",
                "training.",
                "lora.",
                "trainer.",
                "reference",
                *_MODEL,
                *_DATA,
            ),
            StageKind.EVALUATION: ("evaluation.", "engine.", *_MODEL, *_DATA),
        }[self]


@dataclass(frozen=True)
class Stage:
    """A stage of one iteration; iteration t makes M_t, iteration 0 only evaluates M_0."""

    kind: StageKind
    iteration: int

    @property
    def name(self) -> str:
        return f"iteration-{self.iteration}/{self.kind}"

    @property
    def model_iteration(self) -> int:
        """t of the model M_t the stage loads: evaluation loads what training made, the others what came before."""
        return self.iteration if self.kind is StageKind.EVALUATION else self.iteration - 1

    def reads(self, config: RunConfig) -> tuple[Stage, ...]:
        """The stages of the same iteration whose files this one reads."""
        compared = StageKind.TRANSLATIONS if config.pairs.rival is None else StageKind.SCORES
        kinds = {
            StageKind.RESPONSES: (StageKind.PROMPTS,),
            StageKind.TRANSLATIONS: (StageKind.PROMPTS, StageKind.RESPONSES),
            StageKind.SAMPLES: (StageKind.PROMPTS,),
            StageKind.SCORES: (StageKind.RESPONSES, StageKind.SAMPLES),
            StageKind.PAIRS: (StageKind.PROMPTS, StageKind.RESPONSES, compared),
            StageKind.TRAINING: (StageKind.PAIRS,),
        }.get(self.kind, ())
        return tuple(Stage(kind, self.iteration) for kind in kinds)

    def config_values(self, config: RunConfig) -> dict[str, Any]:
        """The configuration values that define the stage's result."""
        values = identity_values(config)
        found = {k: v for k, v in values.items() if k.startswith(self.kind.config_keys)}
        if self.kind is StageKind.TRANSLATIONS and config.pairs.control is PairControl.ROUND_TRIP:
            found[_CONTROL] = values[_CONTROL]  # the one control with translations of its own
        return found


def stages(config: RunConfig) -> list[Stage]:
    """Every stage of a run, in order; a rival's pairs need samples and scores where the paper's need translations."""
    rival = [StageKind.SAMPLES, StageKind.SCORES]
    order = [
        StageKind.PROMPTS,
        StageKind.RESPONSES,
        *([StageKind.TRANSLATIONS] if config.pairs.rival is None else rival),
        StageKind.PAIRS,
        StageKind.TRAINING,
    ]
    evaluated = [StageKind.EVALUATION] if config.evaluation else []
    plan = [Stage(kind, 0) for kind in evaluated]
    for iteration in range(1, config.iterations + 1):
        plan += [Stage(kind, iteration) for kind in [*order, *evaluated]]
    return plan


def parse_stage(name: str) -> Stage:
    """The stage of a name such as ``iteration-1/pairs``.

    Raises:
        LidrError: it names no stage.
    """
    head, _, kind = name.partition("/")
    number = head.removeprefix("iteration-")
    if kind not in set(StageKind) or not number.isdecimal():
        raise LidrError("no stage", where=name, instead=did_you_mean(kind, [k.value for k in StageKind]))
    return Stage(StageKind(kind), int(number))
