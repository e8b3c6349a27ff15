"""What a run may still use of a server that is paid for."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lidr.engines.endpoint_target import Target
from lidr.engines.endpoint_usage import NOTHING, Ledger, Prices, Usage, exact, money
from lidr.errors import LidrError


@dataclass(frozen=True)
class _Excess:
    """A limit that would be exceeded, in words."""

    name: str
    used: str
    limit: str
    needed: str


class Budget:
    """Used and set aside together never exceed a limit.

    Where an answer took more than its worst case (a server that counts prompts in its own way), every later
    request has that much more set aside.

    Args:
        target: the server, with limits and prices.
        ledger: what the run has used, earlier attempts and other models included.

    Raises:
        LidrError: money is limited, and the ledger holds answers of unknown price.
    """

    def __init__(self, target: Target, ledger: Ledger) -> None:
        endpoint = target.endpoint
        self._tokens, self._cost = endpoint.budget_tokens, exact(endpoint.budget_cost)
        self._target, self._prices, self._ledger = target, Prices.of(endpoint), ledger
        self._aside, self._margin = NOTHING, NOTHING
        if self._cost is not None and ledger.unpriced:
            raise LidrError(
                f"what {ledger.unpriced:,} of its answers cost is unknown, and counts against budget_cost",
                where=str(ledger.path),
                instead=f'replace "cost": null there by what it was, or type {target.key("budget_cost")}=null',
            )

    def hold(self, key: str, worst: Usage) -> Hold | None:
        """Sets the worst case of a request aside; None, with nothing set aside, where it does not fit."""
        aside = worst + self._margin
        if self._exceeded(self._aside + aside):
            return None
        self._aside += aside
        return Hold(self, key, worst, aside)

    def release(self, aside: Usage) -> None:
        """Gives back what was set aside."""
        self._aside = self._aside.beyond(aside)

    def charge(self, key: str, worst: Usage, used: Usage) -> None:
        """Enters what an answer took."""
        self._ledger.add(key, self._target.model, used, self._prices.cost(used))
        self._margin = self._margin.at_least(used.beyond(worst))

    def refusal(self, worst: Usage) -> LidrError:
        """Says why a request that does not fit is not sent, and what to type."""
        excess = self._exceeded(worst + self._margin)
        if excess is None:
            raise ValueError("the request fits")
        return LidrError(
            f"the run has used {excess.used} of {excess.limit}, and the next answer may take it to {excess.needed}",
            where=self._target.key(excess.name),
            instead=f"type {self._target.key(excess.name)}=<{excess.needed} or more>, or null, and run the same"
            " command again: it goes on",
        )

    def _exceeded(self, wanted: Usage) -> _Excess | None:
        """The limit that `wanted` on top of what is used exceeds."""
        tokens = self._ledger.tokens + wanted.tokens
        if self._tokens is not None and tokens > self._tokens:
            return _Excess("budget_tokens", f"{self._ledger.tokens}", f"{self._tokens} tokens", f"{tokens}")
        cost = self._ledger.cost + (self._prices.cost(wanted) or 0)
        if self._cost is not None and cost > self._cost:
            return _Excess("budget_cost", money(self._ledger.cost), money(self._cost), money(cost))
        return None


class Hold:
    """What is set aside for one request, from before it is sent until the block that uses it ends."""

    def __init__(self, budget: Budget, key: str, worst: Usage, aside: Usage) -> None:
        self._budget, self._key, self._worst = budget, key, worst
        self._aside: Usage | None = aside

    def charge(self, used: Usage) -> None:
        """Enters what an answer took, in place of what was set aside."""
        self._release()
        self._budget.charge(self._key, self._worst, used)

    def renew(self) -> None:
        """Sets the worst case aside once more, for another attempt.

        Raises:
            LidrError: it does not fit any more.
        """
        again = self._budget.hold(self._key, self._worst)
        if again is None:
            raise self._budget.refusal(self._worst)
        self._aside = again._aside

    def _release(self) -> None:
        if self._aside is not None:
            self._budget.release(self._aside)
            self._aside = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()
