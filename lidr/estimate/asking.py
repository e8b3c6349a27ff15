"""What the stages that ask a model still need: responses, translations, evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lidr.config import ModelConfig, PromptsConfig, SamplingConfig
from lidr.engines.base import FinishReason
from lidr.estimate import lengths, tasks
from lidr.estimate.counting import Counter, counter_of
from lidr.estimate.files import ModelFiles, local_folder, read
from lidr.estimate.left import Left, Prompts
from lidr.estimate.lengths import Answer, Seen, Writing
from lidr.estimate.need import Need, together
from lidr.estimate.ranges import Range
from lidr.estimate.sizes import line, utf8
from lidr.estimate.stored import Stored, StoredAnswers
from lidr.evaluation.conversation import turn_file, turns, user_turn
from lidr.records import Prompt, Response, Turn
from lidr.stages import Stage, StageKind
from lidr.synthesis.read import sample_file

_OUTCOME_BYTES = 110  # a line of outcomes.jsonl


@dataclass(frozen=True)
class Asked:
    """A model that answers: how its tokens are counted, and what its files say; None: they are not here."""

    counter: Counter
    files: ModelFiles | None

    @staticmethod
    def of(model: ModelConfig) -> Asked:
        folder = local_folder(model)
        return Asked(counter_of(model), read(folder) if folder else None)

    def cap(self, sampling: SamplingConfig, prompt_tokens: float) -> float:
        """Tokens that an answer cannot exceed."""
        context = self.files.context if self.files else None
        limit = sampling.max_new_tokens
        return limit if context is None else max(1, min(limit, context - prompt_tokens))


class Answering:
    """Responses and evaluation of one run.

    Args:
        left: the run.
        seen: the answers of a probe, if there was one.
    """

    def __init__(self, left: Left, seen: Seen | None = None) -> None:
        self.left, self.config, self.seen = left, left.config, seen
        self.stored = Stored(left.config, left.run)
        self.model = Asked.of(left.config.model)
        self._answers: dict[tuple[str, int], dict[str, Answer]] = {}

    def prompts_stage(self, iteration: int) -> Need:
        """The files of an iteration's prompts."""
        size = 0
        for code, records in self.left.loop_prompts(iteration).items():
            size += utf8(p.prompt for p in records) + utf8(p.answer or "" for p in records)
            size += len(records) * line(
                Prompt(records[0].id, code, "", None if records[0].answer is None else "")
            )
        return Need(bytes=Range.exact(size))

    def responses(self, iteration: int) -> Need:
        """y^l that have no record yet."""
        stage, answers = Stage(StageKind.RESPONSES, iteration), self.answers(iteration)
        prompts = self.left.loop_prompts(iteration)
        return together(
            self._need(self.left.unanswered(records, stage, f"{code}.jsonl"), answers[code])
            for code, records in prompts.items()
        )

    def samples(self, iteration: int, code: str, sample: int) -> Need:
        """Answers of a rival's file of samples that have no record yet."""
        stage, prompts = Stage(StageKind.SAMPLES, iteration), self.left.loop_prompts(iteration)[code]
        left = self.left.unanswered(prompts, stage, sample_file(code, sample))
        return self._need(left, self.answers(iteration)[code])

    def evaluation(self, iteration: int) -> Need:
        """M_t's answers to the benchmarks that have no record yet."""
        stage, needs = Stage(StageKind.EVALUATION, iteration), []
        for name in self.config.asked_benchmarks:
            prompts, answers = self.left.benchmark_prompts(name), self.benchmark_answers(name, iteration)
            for code, records in prompts.items():
                unanswered = self.left.unanswered(records, stage, f"{name}/{code}.jsonl")
                needs.append(self._need(unanswered, answers[code]))
                for turn in range(2, turns({code: records}) + 1):
                    needs.append(self._later_turn(records, turn, stage, name, answers[code]))
            outcomes = _OUTCOME_BYTES * sum(map(len, prompts.values()))
            needs.append(Need(bytes=Range.exact(outcomes)))
        needs += [tasks.need(b, self.config.languages) for b in self.config.lm_eval_benchmarks.values()]
        return together(needs)

    def _later_turn(
        self, records: Sequence[Prompt], turn: int, stage: Stage, name: str, answer: Answer
    ) -> Need:
        """A later turn of conversations: asked after all earlier ones, with the model's own answers to them."""
        asked = [p for p in records if len(p.follow_ups) >= turn - 1]
        left = self.left.unanswered(asked, stage, turn_file(Path(name), records[0].language, turn).as_posix())
        if not left:
            return Need()
        told = [
            Turn(user_turn(p, turn), before=tuple((user_turn(p, k), "") for k in range(1, turn)))
            for p in left
        ]
        before = Range.exact((turn - 1) * len(left))
        said = [text for t in told for text in (t.user, *(user for user, _ in t.before))]
        empty = line(Response(left[0].id, left[0].language, "", "", FinishReason.STOP, 100))
        return Need(
            requests=Range.exact(len(left)),
            prompt_tokens=self.model.counter.prompts(told) + answer.tokens * before,
            answer_tokens=answer.tokens * len(left),
            bytes=answer.bytes * (before + Range.exact(len(left)))
            + Range.exact(empty * len(left) + utf8(said)),
        )

    def answers(self, iteration: int) -> dict[str, Answer]:
        """A mean answer of each language in an iteration's responses."""
        if ("", iteration) not in self._answers:
            prompts = self.left.loop_prompts(iteration)
            stored = {code: self.stored.answers(iteration, code) for code in prompts}
            sampling = self.config.engine.sampling
            self._answers["", iteration] = self._lengths(prompts, self.config.prompts, sampling, stored)
        return self._answers["", iteration]

    def benchmark_answers(self, name: str, iteration: int) -> dict[str, Answer]:
        """A mean answer of each language to a benchmark's prompts, by M_t."""
        if (name, iteration) not in self._answers:
            benchmark, prompts = self.config.asked_benchmarks[name], self.left.benchmark_prompts(name)
            stored = {code: self.stored.benchmark_answers(name, iteration, code) for code in prompts}
            sampling = SamplingConfig(benchmark.max_new_tokens, benchmark.repetition_penalty)
            self._answers[name, iteration] = self._lengths(prompts, benchmark.prompts, sampling, stored)
        return self._answers[name, iteration]

    def _lengths(
        self,
        prompts: Prompts,
        config: PromptsConfig,
        sampling: SamplingConfig,
        stored: Mapping[str, StoredAnswers | None],
    ) -> dict[str, Answer]:
        counter = self.model.counter
        writings = lengths.writings(prompts, counter)
        verbosities = lengths.verbosities(writings, self.config.languages.dominant)
        found = {}
        for code, records in prompts.items():
            asked = counter.prompts([Turn(p.prompt) for p in records]).expected / len(records)
            writing, cap = writings[code], self.model.cap(sampling, asked)
            if (known := stored[code]) is not None:
                found[code] = lengths.from_stored(known, writing, cap)
            elif solved := lengths.solutions(records, config, self.config.model):
                found[code] = lengths.from_solutions(solved, writing, counter, cap)
            else:
                found[code] = self._guessed(code, verbosities[code], writing, cap, sampling.max_new_tokens)
        return found

    def _guessed(
        self, language: str, verbosity: float, writing: Writing, cap: float, max_new_tokens: int
    ) -> Answer:
        """From the probe where it tells, else assumed."""
        seen = self.seen
        probed = seen and lengths.from_probe(seen, language, verbosity, writing, cap, max_new_tokens)
        return probed or lengths.from_assumed(seen, verbosity, writing, cap)

    def _need(self, prompts: Sequence[Prompt], answer: Answer) -> Need:
        if not prompts:
            return Need()
        empty = line(Response(prompts[0].id, prompts[0].language, "", "", FinishReason.STOP, 100))
        fixed = empty * len(prompts) + utf8(p.prompt for p in prompts)
        return Need(
            requests=Range.exact(len(prompts)),
            prompt_tokens=self.model.counter.prompts([Turn(p.prompt) for p in prompts]),
            answer_tokens=answer.tokens * len(prompts),
            bytes=answer.bytes * len(prompts) + Range.exact(fixed),
        )
