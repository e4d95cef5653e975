"""Which failures another reranker, or none, may stand in for; and what an answer without a ranking says of itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias, cast

from rerankkit import errors
from rerankkit._checks import check_choice
from rerankkit._forking import fork_lock
from rerankkit._turns import estimate_of, failed, label_of, told
from rerankkit.errors import RerankError
from rerankkit.money import Estimate
from rerankkit.reranker import Reranker
from rerankkit.types import Attempt, D, RankedDocument, RerankRequest, RerankResponse

logger = logging.getLogger("rerankkit")

OUTAGES: tuple[type[RerankError], ...] = (
    errors.APIConnectionError,
    errors.BudgetExceededError,
    errors.CircuitOpenError,
    errors.ConflictError,
    errors.DeadlineExceededError,
    errors.InvalidResponseError,
    errors.PaymentRequiredError,
    errors.RateLimitError,
    errors.ServerError,
)
"""What happens to a call that is right.  A bad request, a bad key or an unknown model would only be hidden."""

NOTICE_INTERVAL = 60.0  # seconds between two notices of the same


OnError: TypeAlias = Literal["raise", "passthrough"]


def check_on_error(value: object) -> OnError:
    """*value*, if it is one of the two."""
    return cast("OnError", check_choice("on_error", value, ("raise", "passthrough")))


async def ranked_or_given(
    who: str, request: RerankRequest[D], rank: Callable[[], Awaitable[RerankResponse[D]]]
) -> RerankResponse[D]:
    """What *rank* answers; in an outage the documents as they were given."""
    started = time.monotonic()
    try:
        return await rank()
    except OUTAGES as error:
        NOTICES.tell(who, error, "documents keep the given order")
        return in_given_order(request, error.history or (failed(who, time.monotonic() - started, error),))


def in_given_order(request: RerankRequest[D], attempts: tuple[Attempt, ...] = ()) -> RerankResponse[D]:
    """The documents as they were given, cut to `top_n`, without scores."""
    results = (RankedDocument(index, None, document, skipped="not_ranked") for index, document in enumerate(request.documents))
    return RerankResponse(
        tuple(results)[: request.top_n], provider="passthrough", status="degraded", attempts=attempts, cost=0.0
    )


def estimate_afterwards(reranker: Reranker, request: RerankRequest[D]) -> Estimate:
    """What a call that has been answered was likely to consume: nothing that goes wrong here costs the answer."""
    try:
        return estimate_of(reranker, request)
    except Exception as error:  # noqa: BLE001 -- a tokenizer is anybody's code
        NOTICES.tell(f"the estimate of {label_of(reranker)}", error, "so that a cost is unknown")
        return Estimate()


class Notices:
    """Tells of each thing at most once an interval, so that an outage does not fill the log."""

    def __init__(self, interval: float = NOTICE_INTERVAL) -> None:
        self._interval = interval
        self._told: dict[str, tuple[float, int]] = {}
        self._lock = fork_lock()

    def tell(self, who: str, error: BaseException, instead: str) -> None:
        """Log that *who* failed with *error*, and what was done *instead*."""
        count = self._count(who)
        if count:
            more = f" ({count:,} times since the last such notice)" if count > 1 else ""
            logger.warning("%s failed, %s%s: %s", who, instead, more, told(error))

    def _count(self, who: str) -> int:
        """How often it happened since it was told last; 0 if that was just now."""
        now = time.monotonic()
        with self._lock:
            last, count = self._told.get(who, (-self._interval, 0))
            is_due = now - last >= self._interval
            self._told[who] = (now, 0) if is_due else (last, count + 1)
        return count + 1 if is_due else 0


NOTICES = Notices()
"""Of the whole process."""
