"""What a run has used of servers that are paid for: tokens, what they cost, and the file that says so."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lidr import jsonl
from lidr.config import EndpointConfig
from lidr.errors import LidrError

_MILLION = Decimal(1_000_000)
_STRICT = ConfigDict(frozen=True, strict=True)
Count = Annotated[int, Field(ge=0)]


class Usage(BaseModel):
    """Tokens of a request: its prompt and its answer."""

    model_config = _STRICT

    prompt_tokens: Count
    completion_tokens: Count

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return self._with(other, lambda a, b: a + b)

    def beyond(self, other: Usage) -> Usage:
        """By how much it exceeds another, part by part."""
        return self._with(other, lambda a, b: max(0, a - b))

    def at_least(self, other: Usage) -> Usage:
        """The larger of both, part by part."""
        return self._with(other, max)

    def _with(self, other: Usage, combine: Any) -> Usage:
        return Usage(
            prompt_tokens=combine(self.prompt_tokens, other.prompt_tokens),
            completion_tokens=combine(self.completion_tokens, other.completion_tokens),
        )


NOTHING = Usage(prompt_tokens=0, completion_tokens=0)


@dataclass(frozen=True)
class Prices:
    """Of a million tokens; None: unknown, which is not 0."""

    input: Decimal | None
    output: Decimal | None

    @classmethod
    def of(cls, endpoint: EndpointConfig) -> Prices:
        return cls(exact(endpoint.price_input), exact(endpoint.price_output))

    def cost(self, usage: Usage) -> Decimal | None:
        if self.input is None or self.output is None:
            return None
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / _MILLION


def exact(value: float | None) -> Decimal | None:
    """The decimal number a person typed: 0.1 is a tenth."""
    return None if value is None else Decimal(repr(value))


def money(value: Decimal) -> str:
    return f"{value.normalize():f}"


class _Line(BaseModel):
    """One answered request."""

    model_config = _STRICT

    key: str
    model: str
    prompt_tokens: Count
    completion_tokens: Count
    cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None


class Ledger:
    """The answered requests of a run, a line each, counts and no texts; only their sums are held in memory.

    Attributes:
        tokens: of all lines.
        cost: of the lines whose price is known.
        unpriced: lines whose price is not.

    Raises:
        LidrError: a line is not of this form; names file and line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokens, self.cost, self.unpriced = 0, Decimal(0), 0
        for line in jsonl.lines(path) if path.exists() else ():
            self._count(_read(line.record, f"{path}:{line.number}"))
        self._file = jsonl.Appender(path)

    def add(self, key: str, model: str, usage: Usage, cost: Decimal | None) -> None:
        """Appends an answered request and hands it to the operating system at once."""
        line = _Line(
            key=key,
            model=model,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost=None if cost is None else float(cost),
        )
        self._file.append([line.model_dump()])
        self._count(line)

    def describe(self) -> str:
        """What the run has used, in words."""
        known = f"cost {money(self.cost)}" if self.cost or not self.unpriced else ""
        unknown = f"{self.unpriced:,} answers of unknown price" if self.unpriced else ""
        return ", ".join(filter(None, (f"{self.tokens:,} tokens", known, unknown)))

    def _count(self, line: _Line) -> None:
        self.tokens += line.prompt_tokens + line.completion_tokens
        if line.cost is None:
            self.unpriced += 1
        else:
            self.cost += Decimal(repr(line.cost))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, value, traceback)


def _read(record: dict[str, Any], where: str) -> _Line:
    try:
        return _Line.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise LidrError(
            f"the line is no record of usage ({'.'.join(map(str, first['loc']))}: {first['msg']})",
            where=where,
            instead="mend the line; to delete it is to forget what was paid",
        ) from None
