"""A few real requests to the configured engines, timed."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from lidr.config import EngineConfig, EngineKind, RunConfig, SamplingConfig, TranslatorKind
from lidr.engines.base import Completion, Engine, FinishReason, Request
from lidr.estimate import lengths, money
from lidr.estimate.asking import Answering
from lidr.estimate.counting import Counter, counter_of
from lidr.estimate.left import Left, Prompts
from lidr.estimate.lengths import Seen
from lidr.estimate.speed import AnswerSpeed, Used
from lidr.estimate.stored import StoredAnswers
from lidr.records import Prompt
from lidr.stages import Stage, StageKind
from lidr.synthesis.tags import Tags

NEW_TOKENS = 64
_FEW = 8  # requests
_LEAST_TOKENS = 16
_SECONDS = 2.0  # about what one measurement may take
_MARK = "\x00"


@dataclass(frozen=True)
class Probed:
    """What the engines did; see `lidr.estimate.speed.Measured`."""

    answers: AnswerSpeed
    translation: AnswerSpeed
    seen: Seen
    used: Used | None


def probe(answering: Answering) -> Probed:
    """Loads the engines one after the other and asks them a few of the run's own prompts.

    Nothing is written into the run's folder. What a server is asked counts against what is left of the run's
    budget, and not into what the run has used.

    Raises:
        LidrError: an engine cannot be loaded or does not answer, or the budget is used up.
    """
    config, left = answering.config, answering.left
    by_key = {f"{p.language} {p.id}": p for p in _mixed(left)}
    requests = [Request(key, p.prompt) for key, p in by_key.items()]
    with money.ledger_copy(left.run) as ledger:
        before, started = money.sums(ledger), time.perf_counter()
        engine = _engine(config, left, ledger)
        loaded = time.perf_counter() - started
        timed = _Timed(engine, config.engine, config.engine.sampling, answering.model.counter)
        speed, completions = timed.measure(requests, loaded)
        answers = [(by_key[c.key], c) for c in completions]
        translation = speed
        if config.translator.kind is TranslatorKind.SELF:
            timed = _Timed(engine, config.engine, config.translator.sampling, answering.model.counter)
            translation, _ = timed.measure(_translations(config, answers), loaded, few=speed)
        del engine, timed
        _free()
        if config.translator.kind is TranslatorKind.ENGINE:
            translation = _translator(config, left, ledger, _translations(config, answers))
        seen = _seen(answering, answers, min(NEW_TOKENS, config.engine.sampling.max_new_tokens))
        return Probed(speed, translation, seen, _used(config, before, money.sums(ledger)))


def _mixed(left: Left) -> list[Prompt]:
    """Prompts from all over the run's largest set, language by language in turn."""
    prompts = max(_sets(left), key=lambda found: sum(map(len, found.values())))
    rows = list(zip(*prompts.values(), strict=True))
    stride = max(1, len(rows) * len(prompts) // (2 * left.config.engine.batch_size))
    return [prompt for row in rows[::stride] for prompt in row]


def _sets(left: Left) -> list[Prompts]:
    loop = [left.loop_prompts(1)] if left.config.iterations else []
    return [*loop, *map(left.benchmark_prompts, left.config.asked_benchmarks)]


def _engine(config: RunConfig, left: Left, ledger: Path) -> Engine:
    from lidr.engines.load import load_engine

    iteration = trained(left)
    return load_engine(config, left.run.model(config, iteration), iteration, ledger)


def trained(left: Left) -> int:
    """t of the last M_t that is there."""
    trained = (
        t for t in range(left.config.iterations, 0, -1) if left.state(Stage(StageKind.TRAINING, t)).is_done
    )
    return next(trained, 0)


def _translations(config: RunConfig, answers: Sequence[tuple[Prompt, Completion]]) -> list[Request]:
    """Requests that translate the answers, each of them numbered: no two are the same."""
    translator, languages, tags = config.translator, config.languages, Tags(config.translator)
    batch = (translator.engine or config.engine).batch_size
    texts = [completion.text.strip() or prompt.prompt for prompt, completion in answers]
    direction, stop = (languages.non_dominant[0], languages.dominant), (translator.close_tag,)
    opening = tags.request(_MARK, *direction).partition(_MARK)[0]
    return [
        Request(
            f"{number}", tags.request(f"{number}. {text}", *direction), translator.open_tag, stop, opening
        )
        for number, text in zip(range(2 * batch), cycle(texts), strict=False)
    ]


def _translator(config: RunConfig, left: Left, ledger: Path, requests: Sequence[Request]) -> AnswerSpeed:
    """Of another model that translates."""
    from lidr.engines.load import load_translator

    translator, iteration = config.translator, trained(left)
    if translator.engine is None or translator.model is None:
        raise ValueError("another model translates, and there is none")
    started = time.perf_counter()
    engine = load_translator(config, left.run.model(config, iteration), iteration, ledger)
    loaded = time.perf_counter() - started
    timed = _Timed(engine, translator.engine, translator.sampling, counter_of(translator.model))
    speed, _ = timed.measure(requests, loaded)
    del engine, timed
    _free()
    return speed


@dataclass(frozen=True)
class _Time:
    """One measurement: seconds for so many tokens of prompts and answers."""

    seconds: float
    prompt_tokens: float
    answer_tokens: float


class _Timed:
    """Times one engine. Servers that are paid for are asked only once, and little."""

    def __init__(
        self, engine: Engine, section: EngineConfig, sampling: SamplingConfig, counter: Counter
    ) -> None:
        self.engine, self.counter = engine, counter
        self.paid = section.kind is EngineKind.OPENAI
        self.most = _FEW if self.paid else section.batch_size
        self.sampling, self.new_tokens = sampling, min(NEW_TOKENS, sampling.max_new_tokens)

    def measure(
        self, requests: Sequence[Request], loaded: float, few: AnswerSpeed | None = None
    ) -> tuple[AnswerSpeed, list[Completion]]:
        """A few requests first, then as many together as the engine takes, with fewer new tokens if need be.

        Args:
            requests: at least one, no two the same: engines remember prompts.
            loaded: seconds that loading the engine took.
            few: what a few requests gave before.
        """
        answers: list[Completion] = []
        if few is None:
            if not self.paid:
                self._ask(requests[:1], 1)  # what only the first request does
            few, answers = self._both(requests, min(_FEW, self.most), self.new_tokens, loaded)
        size = self._many(requests, few)
        if size <= few.requests and answers:
            return few, answers
        new_tokens = int(_SECONDS / (size * few.answer_token))
        new_tokens = min(self.new_tokens, max(_LEAST_TOKENS, new_tokens))
        many, more = self._both(requests, size, new_tokens, loaded)
        return many, more if new_tokens == self.new_tokens else answers

    def _many(self, requests: Sequence[Request], few: AnswerSpeed) -> int:
        """As many together as the engine takes, but no more than it reads in the time for a measurement."""
        asked = self.counter.prompts([r.turn for r in requests]).expected / max(1, len(requests))
        in_time = int(_SECONDS / max(1e-9, asked * few.prompt_token))
        return min(self.most, max(_FEW, in_time), max(1, len(requests) // 2))

    def _both(
        self, requests: Sequence[Request], size: int, new_tokens: int, loaded: float
    ) -> tuple[AnswerSpeed, list[Completion]]:
        """So many requests with one new token, and others with more."""
        size = min(size, max(1, len(requests) // 2))
        short, _ = self._ask(requests[:size], 1)
        long, completions = self._ask(requests[size : 2 * size] or requests[:size], new_tokens)
        return AnswerSpeed(loaded, *_per_token(short, long), size), completions

    def _ask(self, requests: Sequence[Request], new_tokens: int) -> tuple[_Time, list[Completion]]:
        sampling = replace(self.sampling, max_new_tokens=new_tokens)
        asked = self.counter.prompts([r.turn for r in requests]).expected
        started = time.perf_counter()
        completions = [c for some in self.engine.stream(requests, sampling) for c in some]
        seconds = time.perf_counter() - started
        answered = [c for c in completions if c.finish_reason is not FinishReason.TOO_LONG]
        return _Time(seconds, asked, sum(c.tokens for c in answered)), answered


def _per_token(short: _Time, long: _Time) -> tuple[float, float]:
    """Seconds of a prompt token and of an answer token, from two measurements of both.

    Where they do not tell the two apart, one token costs what the other does.
    """
    determinant = short.prompt_tokens * long.answer_tokens - long.prompt_tokens * short.answer_tokens
    if determinant > 0:
        prompt = (short.seconds * long.answer_tokens - long.seconds * short.answer_tokens) / determinant
        answer = (short.prompt_tokens * long.seconds - long.prompt_tokens * short.seconds) / determinant
        if prompt >= 0 and answer > 0:
            return prompt, answer
    each = long.seconds / max(1, long.prompt_tokens + long.answer_tokens)
    return each, each


def _seen(answering: Answering, answers: Sequence[tuple[Prompt, Completion]], limit: int) -> Seen:
    left = answering.left
    verbosity: dict[str, float] = {}
    for prompts in _sets(left):
        writings = lengths.writings(prompts, answering.model.counter)
        verbosity |= lengths.verbosities(writings, left.config.languages.dominant)
    characters = tuple(len(c.text) / verbosity[p.language] for p, c in answers)
    ended = sum(c.finish_reason is FinishReason.STOP for _, c in answers) / max(1, len(answers))
    by_language = {
        code: _as_stored([c for p, c in answers if p.language == code])
        for code in {p.language for p, _ in answers}
    }
    return Seen(characters, ended, limit, by_language)


def _as_stored(completions: Sequence[Completion]) -> StoredAnswers:
    ended = [c for c in completions if c.finish_reason is FinishReason.STOP and c.text.strip()]
    whole = tuple((len(c.text), c.tokens) for c in ended)
    return StoredAnswers(tuple(c.tokens for c in completions), whole)


def _free() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _used(config: RunConfig, before: Used, after: Used) -> Used | None:
    """What was used in between; None where no engine is paid for."""
    engines = [config.engine, config.translator.engine]
    if not any(engine and engine.kind is EngineKind.OPENAI for engine in engines):
        return None
    known = None if before.cost is None or after.cost is None else after.cost - before.cost
    return Used(after.tokens - before.tokens, known)
