"""When the first answer is slow, a second one is asked for, and the faster one counts."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from rerankkit._checks import check_seconds, check_share
from rerankkit._degrading import OUTAGES, estimate_afterwards
from rerankkit._forking import fork_lock
from rerankkit._io import IO
from rerankkit._turns import RACE, call, label_of, tell
from rerankkit.errors import RerankError
from rerankkit.money import sum_of_costs
from rerankkit.reranker import Reranker
from rerankkit.resilience.wrapper import Wrapper
from rerankkit.types import Attempt, D, RerankRequest, RerankResponse

KEPT = 200  # latencies: at 10 calls a second those of the last 20 s
LEAST = 20  # latencies before they say what is slow
FENCE = 3.0  # interquartile ranges above the third quartile: Tukey's outer fence, Exploratory Data Analysis, 1977, 2D
MOST_SAVED = 10.0  # hedges that quiet times can save up for a bad one
QUARTILES = (0.25, 0.5, 0.75)
ROUNDING = 1e-9  # ten tenths are a little less than one
LEAST_DELAY = 0.001  # seconds; some systems' clocks stand still for 16 ms, and no time at all is never slow
FIRST_LOOK = 0.01  # seconds after which a call that began before anything was known looks again; then twice as many


class Hedged(Wrapper):
    """Asks again when an answer is slow, and takes the first that comes: ``Hedged(Client(Cohere()), Client(Voyage()))``.

    The slower request is cancelled, which does not unsend it: services bill what they accepted. Both are in the response's
    `attempts`, `usage` and `cost`, the cancelled one by its estimate. Failures are not hedged: what the first one raises
    while it is alone is raised; once both are asked, an outage of one waits for the other.

    Args:
        first: Asked at once.
        second: Asked when the first is slow; preferably another service, which is not slow for the same reason. None: the
            first, again.
        delay: Seconds after which the first is slow; None: what its own latest answers say, once there are 20.
        percentile: Without `delay`, the share of the latest 200 answers that were faster than what is slow. Where so many
            are slow that this is one of their latencies, slow is what lies beyond the outer fence of all: three times the
            interquartile range above the third quartile, or twice the median if that is more.
        budget: At most this share of calls is hedged; who finds nothing left asks again later. 1.0: all may be.
        timeout: Seconds for a call as a whole; None: as long as the more patient of the two.

    Raises:
        InvalidRequestError: An argument is out of range.
    """

    keeps_scores: ClassVar[bool] = True

    def __init__(
        self,
        first: Reranker,
        second: Reranker | None = None,
        *,
        delay: float | None = None,
        percentile: float = 0.95,
        budget: float = 0.1,
        timeout: float | None = None,
    ) -> None:
        super().__init__(first, *(() if second is None else (second,)), timeout=timeout)
        self._delay = None if delay is None else check_seconds("delay", delay)
        self._latencies = _Latencies(check_share("percentile", percentile))
        self._budget = _Budget(check_share("budget", budget))

    async def _rerank(self, io: IO, request: RerankRequest[D]) -> RerankResponse[D]:
        self._budget.add()
        race = object()
        first, second = _Turn(self.rerankers[0], race), _Turn(self.rerankers[-1], race)
        jobs = [partial(first.take, io, request), partial(self._hedge, second, io, request)]
        try:
            winner, response = await io.race(jobs, lambda error: second.began is None or not isinstance(error, OUTAGES))
        except RerankError as error:
            _tell(error, [*first.account(request), *second.account(request)])
            raise
        if first.failed is None:
            self._latencies.add(first.seconds)
        lost = (second if winner is first else first).account(request)
        return _billed(response, lost, (*response.attempts, *lost) if winner is first else (*lost, *response.attempts))

    async def _hedge(self, turn: _Turn, io: IO, request: RerankRequest[D]) -> tuple[_Turn, RerankResponse[D]]:
        """The second answer, asked for when the first is slow; who finds the budget empty asks it again, ever later."""
        waited = 0.0
        while True:
            delay = self._delay or self._latencies.slow()
            pause = max(FIRST_LOOK, waited) if delay is None else delay - waited
            if pause <= 0:
                if self._budget.take():
                    return await turn.take(io, request)
                pause = waited / 2
            await io.sleep(pause)
            waited += pause


class _Turn:
    """One of the two calls.

    Attributes:
        began: When, on the monotonic clock; None: it has not.
        failed: Whose turns led to its failure; None: it has not failed.
    """

    def __init__(self, reranker: Reranker, race: object) -> None:
        self._reranker = reranker
        self._race = race
        self.began: float | None = None
        self.failed: tuple[Attempt, ...] | None = None

    async def take(self, io: IO, request: RerankRequest[D]) -> tuple[_Turn, RerankResponse[D]]:
        self.began = time.monotonic()
        RACE.set(self._race)  # in this turn's own context: races give one to each
        try:
            response = await call(io, self._reranker, request)
        except RerankError as error:
            self.failed = error.history  # not the error: it and the frames of its traceback would keep each other alive
            raise
        return self, response

    @property
    def seconds(self) -> float:
        """How long it has been waited for."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    def account(self, request: RerankRequest[D]) -> tuple[Attempt, ...]:
        """What came of it, if it has not won."""
        if self.began is None or self.failed is not None:
            return self.failed or ()
        estimate = estimate_afterwards(self._reranker, request)
        label = label_of(self._reranker)
        return (Attempt(label, "cancelled", self.seconds, usage=estimate.usage, cost=estimate.cost),)


class _Latencies:
    """How long the latest answers took.

    An answer that was not waited for counts with the time it was: that is beyond what is slow, and lowers no percentile.
    """

    def __init__(self, percentile: float) -> None:
        self._percentile = percentile
        self._seconds: deque[float] = deque(maxlen=KEPT)
        self._lock = fork_lock()

    def add(self, seconds: float) -> None:
        with self._lock:
            self._seconds.append(seconds)

    def slow(self) -> float | None:
        """Seconds after which an answer is slow; None while too few are known.

        With exactly 5 % of slow answers their 95th percentile is now a fast one and now a slow one; quartiles are fast
        ones until a quarter is slow.
        """
        with self._lock:
            ordered = sorted(self._seconds)
        if len(ordered) < LEAST:
            return None
        percentile, lower, median, upper = (
            ordered[int(share * (len(ordered) - 1))] for share in (self._percentile, *QUARTILES)
        )
        return max(LEAST_DELAY, min(percentile, max(upper + FENCE * (upper - lower), 2 * median)))


class _Budget:
    """A token for each hedge; each call brings a part of one, so that there are never more hedges than that part of calls."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._most = MOST_SAVED if share < 1 else math.inf
        self._left = 0.0
        self._lock = fork_lock()

    def add(self) -> None:
        """There is another call."""
        with self._lock:
            self._left = min(self._most, self._left + self._share)

    def take(self) -> bool:
        """Whether it may be hedged, which counts then."""
        with self._lock:
            is_enough = self._left > 1 - ROUNDING
            self._left -= is_enough
        return is_enough


def _billed(response: RerankResponse[D], lost: Sequence[Attempt], attempts: tuple[Attempt, ...]) -> RerankResponse[D]:
    """*response* with all turns at it, and what those of the loser consumed that were cancelled."""
    unread = [turn for turn in lost if turn.outcome == "cancelled"]
    return replace(
        response,
        attempts=attempts,
        usage=sum((turn.usage for turn in unread), response.usage),
        cost=sum_of_costs(response.cost, *(turn.cost for turn in unread)),
    )


def _tell(error: RerankError, history: Sequence[Attempt]) -> None:
    """Let *error* say what came of all turns."""
    others = [f"{turn.reranker} {turn.outcome}{f': {turn.error}' if turn.error else ''}" for turn in history[1:]]
    tell(error, history, [f"Meanwhile {other}" for other in others])
