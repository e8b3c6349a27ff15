"""What a run has done already, and what of each stage is left to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lidr import jsonl
from lidr.config import PromptSchedule, PromptsConfig, RunConfig
from lidr.errors import LidrError
from lidr.execute import done
from lidr.preflight import read_prompts
from lidr.prompts import select
from lidr.records import Prompt, Response
from lidr.stages import Stage, StageKind
from lidr.store import RunDirectory
from lidr.synthesis import read

Prompts = dict[str, list[Prompt]]


class Progress(StrEnum):
    """refused: it was finished with other values or files, and the run would stop there."""

    DONE = "done"
    BEGUN = "begun"
    TO_DO = "to do"
    REFUSED = "refused"


@dataclass(frozen=True)
class StageState:
    """How far a stage is. records: those that stand of one that is begun; reason: why one is refused."""

    progress: Progress
    records: int = 0
    reason: str = ""

    @property
    def is_done(self) -> bool:
        return self.progress is Progress.DONE

    def __str__(self) -> str:
        if self.progress is Progress.BEGUN:
            return f"begun, {self.records} records"
        return f"refused: {self.reason}" if self.progress is Progress.REFUSED else self.progress.value


class Left:
    """What is left of one run, which need not exist yet; read once and then remembered."""

    def __init__(self, config: RunConfig, run: RunDirectory) -> None:
        self.config, self.run = config, run
        self._states: dict[Stage, StageState] = {}
        self._prompts: dict[int | str, Prompts] = {}

    def state(self, stage: Stage) -> StageState:
        """How far a stage is."""
        if stage not in self._states:
            self._states[stage] = self._state(stage)
        return self._states[stage]

    def _state(self, stage: Stage) -> StageState:
        try:
            if done(stage, self.config, self.run) is not None:
                return StageState(Progress.DONE)
        except LidrError as error:
            return StageState(Progress.REFUSED, reason=error.what)
        stored = sum(jsonl.whole_lines(path) for path in self.run.folder(stage).rglob("*.jsonl"))
        return StageState(Progress.BEGUN, stored) if stored else StageState(Progress.TO_DO)

    def loop_prompts(self, iteration: int) -> Prompts:
        """The prompts an iteration takes, by language: those its prompt stage wrote, or the ones it will choose."""
        if iteration not in self._prompts:
            self._prompts[iteration] = self._loop_prompts(iteration)
        return self._prompts[iteration]

    def _loop_prompts(self, iteration: int) -> Prompts:
        stage, codes = Stage(StageKind.PROMPTS, iteration), self.config.languages.trained
        if self.run.manifest(stage) is not None:
            folder = self.run.folder(stage)
            return {code: list(read.prompts(folder / f"{code}.jsonl", code)) for code in codes}
        return self._chosen(self.config.prompts, codes, self.config.prompt_schedule, iteration)

    def benchmark_prompts(self, name: str) -> Prompts:
        """A benchmark's prompts, by language; the same for every M_t."""
        if name not in self._prompts:
            benchmark = self.config.asked_benchmarks[name]
            codes = benchmark.codes(self.config.languages)
            self._prompts[name] = self._chosen(benchmark.prompts, codes, PromptSchedule.REUSE, 1)
        return self._prompts[name]

    def _chosen(
        self, prompts: PromptsConfig, codes: Sequence[str], schedule: PromptSchedule, iteration: int
    ) -> Prompts:
        aligned = read_prompts(prompts, tuple(codes))
        return select(aligned, prompts, schedule, iteration, self.config.seed)

    def unanswered(self, prompts: Sequence[Prompt], stage: Stage, name: str) -> list[Prompt]:
        """Those without a record in a stage's file."""
        there = self.standing(stage, name)
        return [p for p in prompts if p.id not in there]

    def standing(self, stage: Stage, name: str) -> frozenset[str]:
        """Ids with a record in a stage's file, or in those of processes that share it (`lidr.shards`).

        A torn last line is none, as it will be written again.
        """
        folder = self.run.folder(stage)
        paths = [folder / name, *folder.glob(f"shards/*/{name}")]
        lines = (line for path in paths if path.exists() for line in jsonl.lines(path))
        return frozenset(str(line.record.get("id")) for line in lines)

    def responses(self, iteration: int, language: str) -> Iterator[Response] | None:
        """The answers to be translated, where all of them are there."""
        stage = Stage(StageKind.RESPONSES, iteration)
        if not self.state(stage).is_done:
            return None
        return read.responses(self.run.folder(stage) / f"{language}.jsonl", language)

    def steps_done(self, iteration: int) -> int:
        """Optimizer steps of a begun training that its last checkpoint has behind it."""
        folder = self.run.folder(Stage(StageKind.TRAINING, iteration))
        every = self.config.training.checkpoint_steps
        there = (folder / "last.ckpt").exists()
        return jsonl.whole_lines(folder / "metrics.jsonl") // every * every if there else 0
