"""What the runs of a sweep have in common, known before any of it is computed, and their sum without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lidr.config import RunConfig
from lidr.config.identity import digest
from lidr.estimate.need import Need, together
from lidr.paths import model_content
from lidr.stages import Stage, StageKind, stages

if TYPE_CHECKING:
    from lidr.estimate.estimate import Estimate


def plan_keys(config: RunConfig) -> dict[Stage, str]:
    """What names the result of each stage that is shared, by the values of all that leads to it.

    Stages with the same key come to the same bytes. Some with different keys do too, as where the values of a prompt
    schedule choose the same prompts at first: then more is expected than will be needed.
    """
    found: dict[Stage, str] = {}
    if not config.paths.share:
        return found
    models = {0: digest(model_content(config.model))}
    for stage in stages(config):
        reads = [found[other] for other in (*stage.reads, *_beside(stage)) if other in found]
        loads = [models[t] for t in _models(stage, config)]
        root = config.prompts.root if stage.kind is StageKind.PROMPTS else None
        found[stage] = digest([stage.name, stage.config_values(config), reads, loads, root])
        if stage.kind is StageKind.TRAINING:
            models[stage.iteration] = found[stage]
    return {stage: key for stage, key in found.items() if stage.kind is not StageKind.PROMPTS}


def _beside(stage: Stage) -> tuple[Stage, ...]:
    """An evaluation also scores the pairs behind its model."""
    return (Stage(StageKind.PAIRS, stage.iteration),) if stage.kind is StageKind.EVALUATION else ()


def _models(stage: Stage, config: RunConfig) -> list[int]:
    if not stage.kind.loads_model:
        return []
    initial = stage.kind is StageKind.TRAINING and config.trains_against_initial
    return [stage.model_iteration, *([0] if initial else [])]


def together_once(found: Sequence[Estimate]) -> Need:
    """The sum over runs, with what several have in common once; of that each has a copy on disk all the same."""
    have = {s.key for each in found for s in each.stages if s.key and s.state.is_done}
    needs = []
    for stage in (stage for each in found for stage in each.stages):
        needs.append(Need(bytes=stage.need.bytes) if stage.key in have else stage.need)
        have |= {stage.key} if stage.key else set()
    return together(needs)


def has_common(found: Sequence[Estimate]) -> bool:
    """Whether some stage that is left to do is several runs'."""
    left = [s.key for each in found for s in each.stages if s.key and not s.state.is_done]
    return len(set(left)) < len(left)
