"""What servers that are paid for will take, and whether the run's budgets last."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from typing import NamedTuple

from lidr.config import EndpointConfig, RunConfig, TranslatorKind
from lidr.estimate.need import Need
from lidr.estimate.ranges import Range
from lidr.estimate.speed import Used
from lidr.estimate.written import money, number
from lidr.stages import StageKind
from lidr.store import RunDirectory

_MILLION = 1_000_000


def endpoint_of(kind: StageKind, config: RunConfig) -> EndpointConfig | None:
    """The server that a stage asks, None where it asks none."""
    if kind in (StageKind.RESPONSES, StageKind.SAMPLES, StageKind.EVALUATION):
        return config.engine.endpoint
    translator = config.translator
    if kind is not StageKind.TRANSLATIONS or translator.kind is TranslatorKind.NONE:
        return None
    engine = translator.engine if translator.kind is TranslatorKind.ENGINE else config.engine
    return engine.endpoint if engine else None


def priced(need: Need, endpoint: EndpointConfig | None) -> Need:
    """With what it costs; None, unknown, where a price is."""
    if endpoint is None or not need.requests.high:
        return need
    if endpoint.price_input is None or endpoint.price_output is None:
        return replace(need, cost=None)
    cost = need.prompt_tokens * endpoint.price_input + need.answer_tokens * endpoint.price_output
    return replace(need, cost=cost / _MILLION)


def used(run: RunDirectory) -> Used:
    """What a run has used already; its ledger is left as it is.

    Raises:
        LidrError: a line of it is not readable.
    """
    with ledger_copy(run) as copy:
        return sums(copy)


@contextmanager
def ledger_copy(run: RunDirectory) -> Iterator[Path]:
    """A copy of what a run has used, to be thrown away."""
    with tempfile.TemporaryDirectory(prefix="lidr-check-") as folder:
        path = Path(folder) / run.ledger.name
        if run.ledger.exists():
            copyfile(run.ledger, path)
        yield path


def sums(ledger: Path) -> Used:
    """What a ledger that may be written holds, if it is there.

    Raises:
        LidrError: a line of it is not readable.
    """
    if not ledger.exists():
        return Used(0, 0.0)
    from lidr.engines.endpoint_usage import Ledger

    with Ledger(ledger) as read:
        return Used(read.tokens, None if read.unpriced else float(read.cost))


class _Limit(NamedTuple):
    key: str
    write: Callable[[float], str]
    limit: float
    needed: Range
    used: float


def shortfalls(config: RunConfig, paid: Need, used: Used) -> Iterator[str]:
    """A line for every budget that the run is expected to exceed, and those that it must.

    Args:
        paid: what is left to ask of servers that are paid for.
        used: what the run has used of them; one budget counts all.
    """
    for limit in _limits(config, paid, used):
        total = limit.needed + Range.exact(limit.used)
        if total.expected <= limit.limit:
            continue
        so_far = f"{limit.write(limit.used)} used and " if limit.used else ""
        if total.low > limit.limit:
            words = f"at least {limit.write(limit.needed.low)} more needed: the run cannot end within it"
        else:
            expected = limit.write(limit.needed.expected)
            words = f"about {expected} more needed: the run is likely to stop before its end"
        yield f"{limit.key}={limit.limit:g}: {so_far}{words}"


def _limits(config: RunConfig, paid: Need, used: Used) -> Iterator[_Limit]:
    sections = {"engine.endpoint": config.engine.endpoint}
    own = config.translator.engine
    if own is not None and own.endpoint != config.engine.endpoint:
        sections["translator.engine.endpoint"] = own.endpoint
    for name, endpoint in sections.items():
        if endpoint is None:
            continue
        if endpoint.budget_tokens is not None:
            yield _Limit(f"{name}.budget_tokens", number, endpoint.budget_tokens, paid.tokens, used.tokens)
        if endpoint.budget_cost is not None and paid.cost is not None and used.cost is not None:
            yield _Limit(f"{name}.budget_cost", money, endpoint.budget_cost, paid.cost, used.cost)
