"""Judges whose worth is known: the lab's exact checks as an oracle, and departures from it.

They get the same question as any judge and read prompt and answers back out of it, so that wording, replies and
statistics are tested as a whole against known truth. The world is synthetic.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from lidr.config import SamplingConfig
from lidr.config.judge_schema import JudgeConfig, LabJudgeConfig, Verdict
from lidr.engines.base import Completion, FinishReason, Request
from lidr.errors import LidrError
from lidr.identification import identify
from lidr.judging.wording import COMPARISON_FIELDS, RATING_FIELDS, Wording, tags_around
from lidr.lab import world
from lidr.lab.checks import extract_number, is_correct

_RIGHT, _ON_TARGET, _WHOLE = 6, 3, 1  # points of ten
_LENGTH_POINT = 10  # characters that a length-biased judge gives a point for
_AT_ONCE = 32
_SURE = 0.0  # log-prob, nats, of what a judge is certain of


class _Asked(NamedTuple):
    """The texts of a question; `texts` are one answer, or two."""

    prompt: str
    texts: tuple[str, ...]


class LabJudge:
    """Answers questions about the lab's prompts.

    Args:
        judge: its departures from the oracle, its wording, and how it says a verdict.
        seed: of what is drawn.

    Raises:
        LidrError: a template does not enclose each field in a tag of its own, so that nothing can be read back.
    """

    def __init__(self, judge: JudgeConfig, seed: int) -> None:
        self._judge, self._wording, self._seed = judge, Wording(judge.wording), seed
        self._bias = judge.lab or LabJudgeConfig(0.0, 0.0, 0.0)
        self._comparison = _tags(judge.wording.comparison, COMPARISON_FIELDS)
        self._rating = _tags(judge.wording.rating, RATING_FIELDS)

    def stream(
        self, requests: Iterable[Request], sampling: SamplingConfig, done: Container[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """See `lidr.engines.base.Engine`."""
        ready: list[Completion] = []
        for request in requests:
            if request.key not in done:
                ready.append(self._reply(request))
            if len(ready) == _AT_ONCE:
                yield ready
                ready = []
        if ready:
            yield ready

    def _reply(self, request: Request) -> Completion:
        compared = self._read(request.user, self._comparison)
        asked = compared or self._read(request.user, self._rating)
        if asked is None:
            raise LidrError(
                "a lab judge cannot read its question",
                where=f"the question {request.key!r}",
                instead="type a wording in which every field stands in a tag of its own",
            )
        problem, language = _problem(asked.prompt, request.key)
        marks = [quality(problem, language, text) for text in asked.texts]
        if compared is None:
            return _said(request, f"Score: {self._mark(request.user, asked.texts[0], marks[0])}", None)
        return self._verdict(request, asked.texts, marks)

    def _verdict(self, request: Request, texts: tuple[str, ...], marks: list[int]) -> Completion:
        wins = self._first_wins(request.user, texts, marks)
        labels = self._judge.wording.labels
        if self._judge.verdict is Verdict.SCORES:
            high, low = max(*marks, 1), min(*marks, max(*marks, 1) - 1)
            scores = (high, high) if wins == 0.5 else (high, low) if wins else (low, high)
            return _said(request, f"Scores: {scores[0]}, {scores[1]}", None)
        if self._judge.verdict is Verdict.LOGPROBS:
            sure = {labels.first: _SURE} if wins == 1 else {labels.second: _SURE}
            both = {labels.first: -0.6931471805599453, labels.second: -0.6931471805599453}
            return _said(request, labels.first if wins else labels.second, both if wins == 0.5 else sure)
        tie = labels.tie if labels.tie is not None else labels.first
        return _said(
            request, f"Verdict: {tie if wins == 0.5 else labels.first if wins else labels.second}", None
        )

    def _first_wins(self, question: str, texts: tuple[str, ...], marks: list[int]) -> float:
        """1, 0, or 0.5: by the oracle, unless one of the departures is drawn."""
        if self._draw(question, "noise") < self._bias.noise:
            return (0.0, 0.5, 1.0)[int(3 * self._draw(question, "verdict"))]
        if self._draw(question, "position") < self._bias.position_bias:
            return 1.0
        if self._draw(question, "length") < self._bias.length_bias:
            return _higher(len(texts[0]), len(texts[1]))
        return _higher(marks[0], marks[1])

    def _mark(self, question: str, text: str, mark: int) -> int:
        if self._draw(question, "noise") < self._bias.noise:
            return int(11 * self._draw(question, "verdict"))
        if self._draw(question, "length") < self._bias.length_bias:
            return min(10, len(text) // _LENGTH_POINT)
        return mark

    def _read(self, question: str, tags: dict[str, str]) -> _Asked | None:
        found = {}
        for field, tag in tags.items():
            match = re.search(rf"<{tag}>(.*?)</{tag}>", question, re.DOTALL)
            if match is None:
                return None
            found[field] = self._wording.unguard(match[1].strip())
        return _Asked(found.pop("prompt"), tuple(found[field] for field in sorted(found)))

    def _draw(self, question: str, what: str) -> float:
        """A number from 0 to 1, the same for the same question and seed."""
        seeded = hashlib.sha256(f"{self._seed} {what} {question}".encode("utf-8", "surrogatepass"))
        return int.from_bytes(seeded.digest()[:8], "big") / 2**64


def quality(problem: world.Problem, language: str, answer: str) -> int:
    """0 to 10: six points for the right number, three for the prompt's language, one for an answer that ends."""
    right = is_correct(problem.answer, answer)
    on_target = identify(answer, world.LANGUAGES) == language
    return _RIGHT * right + _ON_TARGET * on_target + _WHOLE * (extract_number(answer) is not None)


def _higher(first: float, second: float) -> float:
    return 0.5 if first == second else float(first > second)


def _said(request: Request, text: str, log_probs: dict[str, float] | None) -> Completion:
    return Completion(request.key, text, FinishReason.STOP, len(text.split()), log_probs)


def _tags(template: str, fields: tuple[str, ...]) -> dict[str, str]:
    tags = tags_around(template, fields)
    absent = [field for field in fields if field not in tags]
    if absent:
        raise LidrError(
            f"{{{absent[0]}}} stands in no tag of its own, and a lab judge reads its question by them",
            where="wording",
            instead=f"write <{absent[0]}>{{{absent[0]}}}</{absent[0]}>",
        )
    return tags


def _problem(prompt: str, key: str) -> tuple[world.Problem, str]:
    found = _by_prompt().get(prompt.strip())
    if found is None:
        raise LidrError(
            "a lab judge knows only the lab's prompts",
            where=f"the question {key!r}",
            instead="judge the lab's benchmark and pairs with it, or choose another judge",
        )
    return found


@cache
def _by_prompt() -> dict[str, tuple[world.Problem, str]]:
    return {
        world.render_prompt(problem, language): (problem, language)
        for split in ("train", "test")
        for problem in world.problems(split)
        for language in world.LANGUAGES
    }
