"""A limit in dollars, kept before anything is sent."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import ClassVar

from rerankkit._checks import is_number, shown
from rerankkit._forking import fork_lock
from rerankkit._io import IO
from rerankkit._turns import call, estimate_of, is_sent
from rerankkit.errors import BudgetExceededError, InvalidRequestError, RerankError
from rerankkit.money import Estimate
from rerankkit.reranker import Reranker
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.types import D, RerankRequest, RerankResponse

ROUNDING = 1e-9  # dollars by which sums of floats may be off

WAYS_OUT: Mapping[str, str] = {
    "per_call": "pass fewer or shorter documents, or raise per_call",
    "per_run": "raise per_run",
    "per_day": "wait for the next day, which begins at 00:00 UTC, or raise per_day",
}


def today() -> date:
    """The day that `Budget` counts for, in UTC."""
    return datetime.now(UTC).date()


@dataclass(slots=True)
class _Spending:
    """Dollars that calls have cost, and that those under way may cost."""

    settled: float = 0.0
    reserved: float = 0.0

    @property
    def total(self) -> float:
        return self.settled + self.reserved


class Budget(Wrapper):
    """Refuses calls that might cost more than is left: ``Budget(Client(Cohere()), per_day=5.00)``.

    The estimate of a call is reserved before anything is sent, so that calls at the same time never exceed a limit
    together; the cost of the answer then takes its place, or the estimate stays where that is unknown. It stays as well
    where a call was cancelled, ran out of time or broke off, because the service may bill it. It is given back where the
    service refused the request or could not be reached.

    It counts in this process and for this object: copies, and forked children, have limits of their own.

    Args:
        reranker: Whose calls are paid for; a `Client` whose models' prices are known.
        per_call: Dollars (USD) that one call may cost.
        per_run: Dollars that all calls of this object may cost.
        per_day: Dollars that the calls of one day (UTC) may cost.
        timeout: As for any wrapper.

    Raises:
        InvalidRequestError: There is no limit, or one that is no amount above 0.
    """

    keeps_scores: ClassVar[bool] = True

    def __init__(
        self,
        reranker: Reranker,
        *,
        per_call: float | None = None,
        per_run: float | None = None,
        per_day: float | None = None,
        timeout: float | None = None,
    ) -> None:
        super().__init__(reranker, timeout=timeout)
        given = {"per_call": per_call, "per_run": per_run, "per_day": per_day}
        self._limits = {name: _amount(name, value) for name, value in given.items() if value is not None}
        if not self._limits:
            raise InvalidRequestError("Budget needs a limit in dollars: per_call=, per_run= or per_day=")
        self._lock = fork_lock()
        self._process = os.getpid()
        self._run = _Spending()
        self._day = _Spending()
        self._date = today()

    @property
    def spent(self) -> float:
        """Dollars (USD) so far, with what is reserved for calls under way."""
        with self._lock:
            self._turn_page()
            return self._run.total

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        estimate = estimate_of(self.rerankers[0], request)
        expected = self._known(estimate)
        pages = self._reserve(expected)
        try:
            response = await call(io, self.rerankers[0], request)
        except BaseException as error:
            _settle(self._lock, pages, expected, _cost_in_vain(error, estimate, expected))
            raise
        _settle(self._lock, pages, expected, _cost(response, expected))
        return response

    def _known(self, estimate: Estimate) -> float:
        """The cost that is expected.

        Raises:
            InvalidRequestError: Nobody knows it: a limit could not be kept.
        """
        if estimate.cost is not None:
            return estimate.cost
        raise InvalidRequestError(f"Budget cannot keep a limit for {self.label}: {_why_not(self.label, estimate)}")

    def _reserve(self, cost: float) -> tuple[_Spending, ...]:
        """The pages on which *cost* is now reserved.

        Raises:
            BudgetExceededError: It does not fit on one of them.
        """
        with self._lock:
            self._turn_page()
            for name, spent in (("per_call", 0.0), ("per_run", self._run.total), ("per_day", self._day.total)):
                limit = self._limits.get(name, math.inf)
                if cost and spent + cost > limit + ROUNDING:
                    raise BudgetExceededError(_refusal(self.label, name, cost, spent, limit))
            for page in (self._run, self._day):
                page.reserved += cost
            return (self._run, self._day)

    def _turn_page(self) -> None:
        """Begin a new one for a new day, and those of its own in a forked child, whose parent waits for the answers."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._run, self._day = _Spending(self._run.settled), _Spending(self._day.settled)
        if self._date != today():
            self._date, self._day = today(), _Spending()


def _why_not(label: str, estimate: Estimate) -> str:
    """Why a cost is unknown, and what to do."""
    if estimate.unknown is None:
        return "it makes no estimate, as a Client does; put Budget around the clients in it"
    model = "rescore" if label == "kendra" else label.partition(":")[2] or "the-model"  # Kendra's plans have no models
    return (
        f"{estimate.unknown}. Give it a price of yours, which may be for each request: "
        f"Client(provider, prices={{{model!r}: Price(0.002, 1, 'request')}})"
    )


def _settle(lock: threading.Lock, pages: tuple[_Spending, ...], reserved: float, cost: float) -> None:
    """Put what a call cost in the place of what was reserved for it, on the pages of the day on which it began."""
    with lock:
        for page in pages:
            page.reserved -= reserved
            page.settled += cost


def _cost(response: RerankResponse[D], expected: float) -> float:
    """What a call cost; as much as was *expected* stands for what nobody knows, and for who failed and may be billed."""
    if response.cost is None:
        return expected
    return response.cost + (expected if any(turn.cost is None for turn in response.attempts) else 0.0)


def _cost_in_vain(error: BaseException, estimate: Estimate, expected: float) -> float:
    """The same of a call that ended with *error*."""
    if not isinstance(error, RerankError):
        return expected
    turns = error.history
    is_one_of_several = estimate.usage.requests > 1 and len(turns) == 1 and is_sent(turns[0])
    is_unknown = is_one_of_several or any(turn.cost is None for turn in turns)
    return math.fsum(turn.cost or 0.0 for turn in turns) + (expected if is_unknown else 0.0)


def _refusal(label: str, name: str, cost: float, spent: float, limit: float) -> str:
    already = "" if name == "per_call" else f", ${spent:.6g} are spent or reserved{' today' * (name == 'per_day')}"
    return f"a call of {label} may cost ${cost:.6g}{already}, and {name} is ${limit:.6g}: {WAYS_OUT[name]}"


def _amount(name: str, value: object) -> float:
    if not is_number(value) or not 0 < value < math.inf:
        raise InvalidRequestError(f"{name} must be an amount of dollars above 0, got {shown(value)}")
    return float(value)
