"""When to try again, and after how long: pure decisions, no waiting."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from rerankkit._checks import check_integer, is_number
from rerankkit.errors import APIConnectionError, InvalidRequestError, ProviderError, RateLimitError

MOST_DOUBLINGS = 60  # beyond the age of the universe; a float holds 1,024
PUSHBACK = "grpc-retry-pushback-ms"
RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
MOST_KEPT = 20  # idle connections of a pool; httpx's own number
REFUND = 0.1  # tokens that a success gives back.  gRPC proposal A6, read 2026-11-20
ATTEMPTS = 3  # requests in all, as far as a client can tell that the service is down
MOST_ATTEMPTS = 8  # the same where most of what it sends succeeds: with one fault in six, 1 in a million calls meets eight
NEWEST = 0.1  # what the newest request is worth in the share of those that succeed: the last seven make most of it


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with full jitter, and the service's own wish where it states one.

    A rerank call only reads, so repeating it is safe; each repetition may be billed.

    Attributes:
        attempts: Requests in all, at least 1; 1 never retries. None: 3, and up to 8 as long as most of what the client has
            lately sent besides succeeded, because then it is bad luck and no outage.
        base_delay: Upper bound in seconds of the first wait; it doubles with each further one.
        rate_limit_delay: The same after a rate limit without a Retry-After.
        max_delay: Upper bound in seconds of any wait this class chooses itself.
        budget: Tokens of the `RetryBudget` that all calls of one client share; None: retry whatever happens.
    """

    attempts: int | None = None
    base_delay: float = 0.1
    rate_limit_delay: float = 1.0
    max_delay: float = 5.0
    budget: int | None = 100

    def __post_init__(self) -> None:
        if self.attempts is not None:
            check_integer("attempts", self.attempts, 1, None)
        if self.budget is not None:
            check_integer("budget", self.budget, 1, None, "pass None for no budget, or attempts=1 for no retries")
        for name in ("base_delay", "rate_limit_delay", "max_delay"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < math.inf:
                raise InvalidRequestError(f"{name} must be a finite number of seconds, at least 0, got {value!r}")

    def most(self, *, healthy: bool = False) -> int:
        """Requests in all; *healthy*: most of the client's others succeed."""
        return (MOST_ATTEMPTS if healthy else ATTEMPTS) if self.attempts is None else self.attempts

    def delay(
        self, error: ProviderError, attempt: int, jitter: Callable[[], float] = random.random, *, healthy: bool = False
    ) -> float | None:
        """Seconds to wait after *attempt* (counted from 1) failed with *error*; None: do not try again.

        What the service asks for is waited in full, plus up to half of `base_delay` so that callers do not return all at once.
        *healthy* is as for `most`.
        """
        if attempt >= self.most(healthy=healthy) or not error.retryable:
            return None
        if error.retry_after is not None:
            return error.retry_after + jitter() * self.base_delay / 2
        base = self.rate_limit_delay if isinstance(error, RateLimitError) else self.base_delay
        return jitter() * min(self.max_delay, base * 2.0 ** min(attempt - 1, MOST_DOUBLINGS))


class RetryBudget:
    """What keeps a client's retries from multiplying the load of a host in trouble (gRPC proposal A6, read 2026-11-20).

    Each failed request takes a token, each success gives back a tenth of one, and while half of them or fewer are left
    nothing is sent again: an outage soon costs one request a call.  A failure that a further attempt heals gives its
    token back, so that hiccups cost nothing.

    It also keeps the share of requests that lately succeeded, 0 at first, in which each further one counts for a tenth:
    what tells bad luck from an outage.

    Args:
        tokens: How many there are at most, and at first; None: the budget is never exhausted.
    """

    def __init__(self, tokens: int | None) -> None:
        self._most = tokens
        self._left = float(tokens or 0)  # no lock, which a fork could leave taken: threads may lose a token, and no more
        self._succeeding = 0.0

    def __repr__(self) -> str:
        return f"<RetryBudget: {'unlimited' if self._most is None else f'{self._left:.1f} of {self._most} tokens left'}>"

    @property
    def allows_retry(self) -> bool:
        """Whether a failed request may be sent again."""
        return self._most is None or self._left > self._most / 2

    def is_healthy(self, failed: int) -> bool:
        """Whether most requests lately succeeded, apart from the asker's own, of which the last *failed* did not."""
        return self._succeeding > 0.5 * (1 - NEWEST) ** failed

    def fail(self) -> None:
        """A request failed in a way that can heal."""
        self._left = max(0.0, self._left - 1)
        self._succeeding -= NEWEST * self._succeeding

    def succeed(self, healed: int) -> None:
        """A request succeeded, after *healed* attempts at it had failed."""
        self._left = min(self._most or 0, self._left + healed + REFUND)
        self._succeeding += NEWEST * (1 - self._succeeding)


class Attempts:
    """The attempts at one request.

    Attributes:
        sent: How many there have been, with the one under way.
        last: How the last one before it failed.
    """

    def __init__(self, retry: Retry, budget: RetryBudget) -> None:
        self.sent = 1
        self.last: ProviderError | None = None
        self._retry = retry
        self._budget = budget
        self._failed = 0
        self._replaced = 0

    def delay(self, error: ProviderError) -> float | None:
        """Seconds to wait before another attempt; None: there is none.

        A connection that had been kept open and was closed meanwhile is replaced at once: no attempt was made over it.
        The next may be another such one: whoever closes them, such as a load balancer, closes all that were idle.
        """
        error.attempts = self.sent
        self.last = error
        if isinstance(error, APIConnectionError) and error.stale and self._replaced < MOST_KEPT:
            self._replaced += 1
            return 0.0
        if error.retryable:
            self._failed += 1
            self._budget.fail()
        healthy = self._budget.is_healthy(self._failed)
        delay = self._retry.delay(error, self.sent - self._replaced, healthy=healthy)
        if delay is not None and not self._budget.allows_retry:
            error.add_note("Not tried again: too many requests of this client have failed lately; see Retry(budget=).")
            return None
        return delay

    def succeed(self) -> None:
        """The attempt under way did what was asked."""
        self._budget.succeed(self._failed)


def check_retry(retry: object) -> Retry:
    """*retry*, or the default in the place of None."""
    if retry is not None and not isinstance(retry, Retry):
        raise InvalidRequestError(f"retry must be a Retry, such as Retry(attempts=1), got {retry!r}")
    return retry or Retry()


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds the service asks to wait, from whichever header says it; None when none does so in a form that counts.

    Understood: ``grpc-retry-pushback-ms``, ``Retry-After-Ms`` and ``x-amz-retry-after`` in milliseconds, ``Retry-After``
    in seconds (also with a fraction) or as an HTTP date. Negative, infinite and unreadable values do not count:
    clocks that differ make negative ones of moments that have just passed.
    """
    for name in (PUSHBACK, "retry-after-ms", "x-amz-retry-after"):
        milliseconds = _seconds(headers.get(name))
        if milliseconds is not None:
            return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _seconds(value)
    return _until(value, now or datetime.now(UTC)) if seconds is None else seconds


def forbids_retry(headers: Mapping[str, str]) -> bool:
    """Whether a gateway asks not to be tried again: its ``grpc-retry-pushback-ms`` is negative or unreadable.

    No other header says so by such a value (gRPC proposal A6, read 2026-11-20).
    """
    return PUSHBACK in headers and _seconds(headers[PUSHBACK]) is None


def until_reset(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds until the moment in ``X-RateLimit-Reset``, told in seconds since 1970; None when it is none to come."""
    moment = _seconds(headers.get("x-ratelimit-reset"))
    left = 0.0 if moment is None else moment - (now or datetime.now(UTC)).timestamp()
    return left if left > 0 else None


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None


def _until(value: str | None, now: datetime) -> float | None:
    """Seconds from *now* until the HTTP date *value*."""
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # RFC 9110: an HTTP date is in GMT
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
