"""What judging a run will take: the questions to each judge, their tokens, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lidr.config.judge_schema import Baseline, JudgeConfig, JudgingConfig, JudgingTask, Verdict
from lidr.errors import LidrError, did_you_mean
from lidr.estimate import assumed, money
from lidr.estimate.asking import Answering
from lidr.estimate.need import Need
from lidr.estimate.ranges import NOTHING, Range, total
from lidr.estimate.sizes import utf8
from lidr.estimate.training import Training
from lidr.evaluation.conversation import user_turn
from lidr.judging.questions import sampling
from lidr.records import Prompt


@dataclass(frozen=True)
class _Questions:
    """Questions that are alike. texts: UTF-8 bytes of the prompt and the answers in one of them."""

    is_comparison: bool
    count: Range
    texts: Range


def judging(answering: Answering, config: JudgingConfig) -> dict[str, Need]:
    """What each judge still has to be asked about a run that may not have been started, by the judge's name.

    Tokens are estimated from bytes: a judge's tokenizer is rarely at hand. Replies that are stored already, of this
    run or in the cache, are not taken off. Two answers that are the same are not asked about, so that of comparisons
    the low end is none.

    Raises:
        LidrError: a benchmark or a language is none of the run's.
    """
    _check(answering, config)
    asked = list(_Asked(answering, config).questions())
    return {name: _need(judge, asked) for name, judge in config.judges.items()}


def _check(answering: Answering, config: JudgingConfig) -> None:
    run = answering.config
    for key, names, known in (
        ("benchmarks", config.benchmarks, list(run.asked_benchmarks)),
        ("codes", config.codes, list(run.languages.all)),
    ):
        for name in names:
            if name not in known:
                what = f"{name!r} is none of the run {run.name}"
                raise LidrError(what, where=key, instead=did_you_mean(name, known))


def _need(judge: JudgeConfig, asked: Sequence[_Questions]) -> Need:
    """A judge of the lab is asked as often, and reads no tokens."""
    requests = _sum(q.count for q in asked)
    if judge.engine is None:
        return Need(requests=requests)
    read, written = NOTHING, NOTHING
    for questions in asked:
        wording = judge.wording
        template = utf8([wording.comparison if questions.is_comparison else wording.rating])
        size, per = questions.texts + Range.exact(template), assumed.BYTES_PER_TOKEN
        tokens = Range(size.low / per.low, size.expected / per.expected, size.high / per.high)
        read += questions.count * (tokens + assumed.TEMPLATE_TOKENS)
        limit = sampling(judge, is_comparison=questions.is_comparison).max_new_tokens
        only_label = questions.is_comparison and judge.verdict is Verdict.LOGPROBS
        written += questions.count * (Range.exact(1) if only_label else assumed.REPLY_TOKENS.at_most(limit))
    need = Need(requests=requests, prompt_tokens=read, answer_tokens=written, seconds=None)
    return money.priced(need, judge.engine.endpoint)


def _sum(values: Iterator[Range]) -> Range:
    return total(values) or NOTHING


class _Asked:
    """The questions of a judging configuration about one run."""

    def __init__(self, answering: Answering, config: JudgingConfig) -> None:
        self.answering, self.config, self.run = answering, config, answering.config
        self.orders = 2 if config.both_orders else 1
        self.languages = config.codes or self.run.languages.all

    def questions(self) -> Iterator[_Questions]:
        tasks = {
            JudgingTask.COMPARISONS: self._comparisons,
            JudgingTask.RATINGS: self._ratings,
            JudgingTask.PAIRS: self._pairs,
            JudgingTask.RESPONSES: self._responses,
        }
        for task in self.config.tasks:
            yield from tasks[task]()

    def _models(self, first: int) -> list[int]:
        wanted = self.config.iterations
        return [t for t in range(first, self.run.iterations + 1) if not wanted or t in wanted]

    def _answers(self, iteration: int) -> Iterator[tuple[Sequence[Prompt], Range]]:
        """Of every benchmark and language: the prompts, and the mean bytes of M_t's answer."""
        for name in self.config.benchmarks or self.run.asked_benchmarks:
            means = self.answering.benchmark_answers(name, iteration)
            for code, prompts in self.answering.left.benchmark_prompts(name).items():
                if code in self.languages:
                    yield prompts, means[code].bytes

    def _comparisons(self) -> Iterator[_Questions]:
        for opponent in self.config.opponents:
            inside = opponent in (Baseline.INITIAL, Baseline.PREVIOUS)
            for t in self._models(1 if inside else 0):
                for prompts, answer in self._answers(t):
                    count = self.orders * min(len(prompts), self.config.limit)
                    asked = utf8(p.prompt for p in prompts) / len(prompts)
                    yield _Questions(True, Range(0, count, count), answer * 2 + Range.exact(asked))

    def _ratings(self) -> Iterator[_Questions]:
        """Every turn of a conversation is rated, after all that was said before it."""
        for t in self._models(0):
            for prompts, answer in self._answers(t):
                share = min(1.0, self.config.limit / len(prompts))
                for turn in range(1, 2 + max(len(p.follow_ups) for p in prompts)):
                    own = [p for p in prompts if len(p.follow_ups) >= turn - 1]
                    said = utf8(user_turn(p, k) for p in own for k in range(1, turn + 1)) / len(own)
                    yield _Questions(False, Range.exact(share * len(own)), answer * turn + Range.exact(said))

    def _pairs(self) -> Iterator[_Questions]:
        training = Training(self.answering)
        codes = [code for code in self.run.languages.trained if code in self.languages]
        for t in self._models(1):
            share = len(codes) / len(self.run.languages.trained)
            kept = _sum(group.count for group in training.pairs(t)) * share
            count = kept.at_most(self.config.limit * len(codes)) * self.orders
            answer, asked = self._mean(t, codes)
            yield _Questions(True, count, answer * 2 + Range.exact(asked))

    def _responses(self) -> Iterator[_Questions]:
        """Own answers, and translations into each language: into the dominant one from all others."""
        languages = self.run.languages
        for t in self._models(1):
            for code in (code for code in languages.trained if code in self.languages):
                count = min(len(self.answering.left.loop_prompts(t)[code]), self.config.limit)
                others = len(languages.non_dominant) if code == languages.dominant else 1
                answer, asked = self._mean(t, [code])
                own, translated = Range.exact(count), assumed.KEPT_PAIRS * (count * others)
                yield _Questions(False, own + translated, answer + Range.exact(asked))

    def _mean(self, iteration: int, codes: Sequence[str]) -> tuple[Range, float]:
        """Bytes of an answer in the loop, and of a prompt."""
        answers, prompts = self.answering.answers(iteration), self.answering.left.loop_prompts(iteration)
        answer = _sum(answers[code].bytes for code in codes) / max(1, len(codes))
        sizes = [utf8(p.prompt for p in prompts[code]) / len(prompts[code]) for code in codes]
        return answer, sum(sizes) / max(1, len(sizes))
