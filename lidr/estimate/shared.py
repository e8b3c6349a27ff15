"""What the runs of a sweep have in common, known before any of it is computed, and their sum without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from lidr.config.identity import digest
from lidr.estimate.left import Left
from lidr.estimate.need import Need, together
from lidr.paths import model_content
from lidr.sharing import benchmarks_read, is_offered, read_beside
from lidr.stages import Stage, StageKind, stages

if TYPE_CHECKING:
    from lidr.estimate.estimate import Estimate, StageEstimate

_REFERENCE = "reference"  # says which model is the reference; what is trained depends on that model alone


def plan_keys(left: Left) -> dict[Stage, str]:
    """What names the result of each stage that is shared: as `lidr.sharing.key`, before there are any files.

    In the place of a file's bytes stands what they follow from: the prompts that are chosen, and for all else the key
    of the stage that writes it. So stages with the same key come to the same bytes. Some with different keys may too,
    as trainings in which a value that differs makes no difference: then more is expected than will be needed.
    """
    return _Plan(left).keys() if left.config.paths.share else {}


class _Plan:
    """The keys of one run. models: what names M_t's weights, by t."""

    def __init__(self, left: Left) -> None:
        self._left, self._config = left, left.config
        self._found: dict[Stage, str] = {}
        self._models = {0: model_content(left.config.model)}

    def keys(self) -> dict[Stage, str]:
        for stage in stages(self._config):
            self._found[stage] = self._key(stage)
        return {stage: key for stage, key in self._found.items() if self._is_shared(stage)}

    def _is_shared(self, stage: Stage) -> bool:
        if stage.kind is StageKind.PROMPTS:
            return False
        return not self._left.state(stage).is_done or is_offered(stage, self._config, self._left.run)

    def _key(self, stage: Stage) -> str:
        if stage.kind is StageKind.PROMPTS:
            return _content(self._left, stage.iteration)
        values = stage.config_values(self._config)
        read = [
            self._found[other]
            for other in (*stage.reads(self._config), *read_beside(stage))
            if other in self._found
        ]
        read += [self._models[t] for t in self._loaded(stage)]
        if stage.kind is StageKind.TRAINING:
            self._models[stage.iteration] = digest([{**values, _REFERENCE: None}, read])
        read += [self._benchmarks] if stage.kind is StageKind.EVALUATION else []
        return digest([self._config.paths.outputs, stage.name, values, read])

    @cached_property
    def _benchmarks(self) -> str:
        return digest(benchmarks_read(self._config, self._left.benchmark_prompts))

    def _loaded(self, stage: Stage) -> Iterator[int]:
        """t of the models that a stage loads; a training's reference comes last."""
        if stage.kind.loads_model:
            yield stage.model_iteration
        if stage.kind is StageKind.TRAINING and self._config.objective.name.needs_reference:
            yield 0 if self._config.trains_against_initial else stage.model_iteration


def _content(left: Left, iteration: int) -> str:
    """What names the files of prompts: the chosen ones, whatever values chose them."""
    chosen = left.loop_prompts(iteration)
    return digest({code: [vars(prompt) for prompt in own] for code, own in chosen.items()})


def together_once(found: Sequence[Estimate]) -> Need:
    """The sum over runs, with what several have in common once; of that each has a copy on disk all the same."""
    return together(Need(bytes=each.need.bytes) if taken else each.need for each, taken in _taken(found))


def stage_counts(found: Sequence[Estimate]) -> tuple[int, int]:
    """Stages that are left to do in all runs, and how many of them are taken from another run."""
    left = [taken for each, taken in _taken(found) if not each.state.is_done]
    return len(left), sum(left)


def _taken(found: Sequence[Estimate]) -> Iterator[tuple[StageEstimate, bool]]:
    """Each stage, and whether it is another run's by the time its own run comes to it."""
    have = {s.key for each in found for s in each.stages if s.key and s.state.is_done}
    for stage in (stage for each in found for stage in each.stages):
        yield stage, stage.key in have and not stage.state.is_done
        have |= {stage.key} if stage.key else set()
