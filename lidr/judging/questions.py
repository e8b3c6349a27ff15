"""What a judge is asked about stored texts, as files of replies that are filled and resumed like any others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lidr import jsonl
from lidr.config import SamplingConfig
from lidr.config.judge_schema import JudgeConfig, Verdict
from lidr.engines.base import Completion, Request
from lidr.errors import LidrError
from lidr.judging.verdicts import Preference, preference, rating
from lidr.judging.wording import Wording
from lidr.records import Reply
from lidr.synthesis.resume import Item, Job

_TEXT_TOKENS = 1024  # of a verdict in words: room for a judge that explains itself
GIVEN, SWAPPED = "given", "swapped"


@dataclass(frozen=True)
class Comparison:
    """Two answers to one prompt, in its language: the model's, and the other one.

    id: the prompt's. variant: tells comparisons of one prompt and language apart.
    """

    id: str
    language: str
    prompt: str
    answer: str
    other: str
    variant: str = ""

    @property
    def key(self) -> str:
        return _key(self.id, self.variant)

    @property
    def is_open(self) -> bool:
        """Whether there is something to ask: an answer is as good as itself."""
        return self.answer != self.other


@dataclass(frozen=True)
class Rated:
    """One answer to a prompt, in its language or not; id and variant as of a `Comparison`."""

    id: str
    language: str
    prompt: str
    answer: str
    variant: str = ""

    @property
    def key(self) -> str:
        return _key(self.id, self.variant)


def comparison_job(
    comparisons: Sequence[Comparison],
    judge: JudgeConfig,
    path: Path,
    *,
    both_orders: bool,
    wording: Wording | None = None,
) -> Job:
    """The file of replies to comparisons: a line an order, of those that are open.

    Args:
        wording: another one than the judge's.
    """
    wording, labels = wording or Wording(judge.wording), _labels(judge)

    def items() -> Iterator[Item]:
        for c in comparisons:
            if c.is_open:
                asked = wording.comparison(c.language, c.prompt, c.answer, c.other)
                yield _item(f"{c.key}#{GIVEN}", asked, labels)
                if both_orders:
                    asked = wording.comparison(c.language, c.prompt, c.other, c.answer)
                    yield _item(f"{c.key}#{SWAPPED}", asked, labels)

    count = (2 if both_orders else 1) * sum(c.is_open for c in comparisons)
    return _job(path, items, count, sampling(judge, is_comparison=True))


def rating_job(rated: Sequence[Rated], judge: JudgeConfig, path: Path) -> Job:
    """The file of replies to ratings: a line an answer."""
    wording = Wording(judge.wording)

    def items() -> Iterator[Item]:
        for r in rated:
            yield _item(f"{r.key}#{GIVEN}", wording.rating(r.language, r.prompt, r.answer), ())

    return _job(path, items, len(rated), sampling(judge, is_comparison=False))


def preferences(
    comparisons: Sequence[Comparison], judge: JudgeConfig, path: Path, *, both_orders: bool
) -> list[Preference]:
    """What the replies of a filled file say, by comparison."""
    replies = _replies(path)
    found = []
    for c in comparisons:
        if not c.is_open:
            found.append(Preference(0.5, None, (0.5, 0.5)))
            continue
        given = _reply(replies, f"{c.key}#{GIVEN}", path)
        swapped = _reply(replies, f"{c.key}#{SWAPPED}", path) if both_orders else None
        found.append(preference(given, swapped, judge))
    return found


def ratings(rated: Sequence[Rated], judge: JudgeConfig, path: Path) -> list[float | None]:
    """What the replies of a filled file say, by answer, 0 to 10; None where a reply says nothing."""
    replies = _replies(path)
    return [rating(_reply(replies, f"{r.key}#{GIVEN}", path), judge) for r in rated]


def sampling(judge: JudgeConfig, *, is_comparison: bool) -> SamplingConfig:
    """How the judge answers: one token where its probabilities are the verdict."""
    if is_comparison and judge.verdict is Verdict.LOGPROBS:
        return SamplingConfig(1, 1.0)
    return judge.engine.sampling if judge.engine is not None else SamplingConfig(_TEXT_TOKENS, 1.0)


def _key(identity: str, variant: str) -> str:
    return f"{identity} {variant}" if variant else identity


def _labels(judge: JudgeConfig) -> tuple[str, ...]:
    labels = judge.wording.labels
    return (labels.first, labels.second) if judge.verdict is Verdict.LOGPROBS else ()


def _item(key: str, asked: str, labels: tuple[str, ...]) -> Item:
    digest = hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()
    return Item(key, digest, Request(key, asked, labels=labels), partial(_record, key, digest))


def _record(key: str, digest: str, completion: Completion | None) -> Reply:
    if completion is None:
        raise ValueError(f"a reply to {key!r} needs a completion")
    return Reply(
        key,
        digest,
        completion.text,
        str(completion.finish_reason),
        completion.tokens,
        None if completion.log_probs is None else dict(completion.log_probs),
    )


def _job(path: Path, items: Callable[[], Iterator[Item]], count: int, how: SamplingConfig) -> Job:
    return Job(path, items, count, "question", how, str(path))


def _replies(path: Path) -> dict[str, Reply]:
    return {str(record["id"]): Reply(**record) for record in jsonl.read(path)} if path.exists() else {}


def _reply(replies: dict[str, Reply], key: str, path: Path) -> Reply:
    found = replies.get(key)
    if found is None:
        raise LidrError(f"has no reply to {key!r}", where=str(path), instead="run the same command again")
    return found
