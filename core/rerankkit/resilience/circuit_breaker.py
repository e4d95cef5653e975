"""A reranker that fails, or is slow, too often is left alone for a while."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from rerankkit._checks import check_integer, check_seconds, check_share
from rerankkit._degrading import OUTAGES
from rerankkit._forking import fork_lock
from rerankkit._io import IO
from rerankkit._turns import call, is_sent
from rerankkit.errors import BudgetExceededError, CircuitOpenError, RerankError
from rerankkit.reranker import Reranker
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.types import D, RerankRequest, RerankResponse

logger = logging.getLogger("rerankkit")

State: TypeAlias = Literal["closed", "open", "half_open"]

FAILURES: tuple[type[RerankError], ...] = tuple(kind for kind in OUTAGES if kind not in (BudgetExceededError, CircuitOpenError))
"""What speaks against a reranker, if anything was sent; those two are refusals of this package's own, before that."""

PROBE_PAUSE = 1.0  # seconds after which to ask again while others try it; nobody knows how long they take


class CircuitBreaker(Wrapper):
    """Lets calls through while enough of them succeed in time: ``Fallback(CircuitBreaker(Client(Cohere())), Passthrough())``.

    Closed, it counts; open, it refuses at once and sends nothing; half open, it lets a few calls try. If all of those
    succeed in time it closes, with a clean slate, and if one does not it opens again. Counted are outages and answers:
    neither the caller's mistakes, nor cancelled calls.

    Args:
        reranker: Who is asked.
        failure_rate: It opens when this share of the latest calls failed,
        slow_after: or when more than these seconds (None: any number is well)
        slow_rate: were taken by this share of them.
        window: The number of latest calls that are looked at,
        least: once there are so many of them.
        open_seconds: It stays open for so long.
        probes: How many calls try, half open.
        timeout: Seconds for a call as a whole; None: the reranker's own.

    Raises:
        InvalidRequestError: An argument is out of range.
    """

    keeps_scores: ClassVar[bool] = True

    def __init__(
        self,
        reranker: Reranker,
        *,
        failure_rate: float = 0.5,
        slow_after: float | None = None,
        slow_rate: float = 0.5,
        window: int = 20,
        least: int = 10,
        open_seconds: float = 30.0,
        probes: int = 1,
        timeout: float | None = None,
    ) -> None:
        super().__init__(reranker, timeout=timeout)
        window = check_integer("window", window, 1, None)
        self._circuit = _Circuit(
            _Rules(
                failure_rate=check_share("failure_rate", failure_rate),
                slow_after=None if slow_after is None else check_seconds("slow_after", slow_after),
                slow_rate=check_share("slow_rate", slow_rate),
                window=window,
                least=check_integer("least", least, 1, window, f"window={window} calls are looked at: change one of the two"),
                open_seconds=check_seconds("open_seconds", open_seconds),
                probes=check_integer("probes", probes, 1, None),
            )
        )

    @property
    def state(self) -> State:
        """``"closed"``, ``"open"``, or ``"half_open"`` once the next calls may try."""
        return self._circuit.state

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        era = self._circuit.enter(self.label)
        started = time.monotonic()
        outcome: Outcome = None
        try:
            response = await call(io, self.rerankers[0], request)
            outcome = "served"
        except FAILURES as error:
            outcome = "failed" if any(map(is_sent, error.history)) else None
            raise
        finally:
            told = self._circuit.leave(era, outcome, time.monotonic() - started)
            if told:
                logger.warning("%s: %s", self.label, told)
        return response


Outcome: TypeAlias = Literal["served", "failed"] | None
"""What came of a call; None: nothing that says anything of the reranker."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """As the arguments of `CircuitBreaker`."""

    failure_rate: float
    slow_after: float | None
    slow_rate: float
    window: int
    least: int
    open_seconds: float
    probes: int


class _Circuit:
    """The state that all calls share, threads and event loops alike."""

    def __init__(self, rules: _Rules) -> None:
        self._rules = rules
        self._lock = fork_lock()
        self._pid = os.getpid()
        self._era = 0  # a call that began before the last change says nothing about the time after it
        self._recent: deque[tuple[bool, bool]] = deque(maxlen=rules.window)  # whether each failed, whether it was slow
        self._until: float | None = None  # when it may be tried again; None: it is closed
        self._why = ""
        self._trying = 0
        self._tried = 0

    @property
    def state(self) -> State:
        with self._lock:
            if self._until is None:
                return "closed"
            return "open" if time.monotonic() < self._until else "half_open"

    def enter(self, who: str) -> int:
        """Let a call through, which says when it leaves what this returns.

        Raises:
            CircuitOpenError: It must not pass.
        """
        with self._lock:
            self._forget_the_parents()
            if self._until is None:
                return self._era
            left = self._until - time.monotonic()
            if left <= 0 and self._trying + self._tried < self._rules.probes:
                self._trying += 1
                return self._era
            why = self._why
        if left > 0:
            raise CircuitOpenError(f"{who} is left alone for another {left:.3g} s: {why}", retry_after=left)
        raise CircuitOpenError(f"{who} is being tried again by other calls: {why}", retry_after=PROBE_PAUSE)

    def leave(self, era: int, outcome: Outcome, seconds: float) -> str:
        """Count a call that has ended; what there is to tell of that."""
        with self._lock:
            self._forget_the_parents()
            if era != self._era:
                return ""
            is_slow = self._rules.slow_after is not None and seconds > self._rules.slow_after
            if self._until is None:
                return self._count(outcome, is_slow)
            self._trying -= 1
            return self._try(outcome, is_slow)

    def _count(self, outcome: Outcome, is_slow: bool) -> str:  # noqa: FBT001 -- what a call was, as all of it
        if outcome is None:
            return ""
        self._recent.append((outcome == "failed", is_slow))
        many = len(self._recent)
        if many < self._rules.least:
            return ""
        failed, slow = (sum(column) for column in zip(*self._recent, strict=True))
        if failed / many >= self._rules.failure_rate:
            return self._open(f"{failed} of the last {many} calls failed")
        if slow / many >= self._rules.slow_rate:
            return self._open(f"{slow} of the last {many} calls took longer than {self._rules.slow_after:g} s")
        return ""

    def _try(self, outcome: Outcome, is_slow: bool) -> str:  # noqa: FBT001 -- as above
        if outcome == "failed" or (outcome and is_slow):
            return self._open("it was tried again and " + ("failed" if outcome == "failed" else "was slow"))
        if outcome == "served":
            self._tried += 1
        if self._tried < self._rules.probes:
            return ""
        self._change(None)
        return "works again"

    def _open(self, why: str) -> str:
        self._why = why
        self._change(time.monotonic() + self._rules.open_seconds)
        return f"left alone for {self._rules.open_seconds:g} s: {why}"

    def _change(self, until: float | None) -> None:
        self._era += 1
        self._until = until
        self._trying = self._tried = 0
        self._recent.clear()

    def _forget_the_parents(self) -> None:
        """Of calls that tried when this process was forked nobody here will hear."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._era += 1
            self._trying = 0
