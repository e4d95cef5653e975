"""When to try again, and after how long."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rerankkit import APIConnectionError, BadRequestError, ProviderError, RateLimitError, Retry, ServerError
from rerankkit.retry import retry_after

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)

HEADERS: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"retry-after": "0"}, 0.0),
    ({"retry-after": "3"}, 3.0),
    ({"retry-after": "1.5"}, 1.5),
    ({"retry-after": " 2 "}, 2.0),
    ({"retry-after": "86400"}, 86_400.0),
    ({"retry-after": "-10"}, None),
    ({"retry-after": ""}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "inf"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "1e35"}, 1e35),
    ({"retry-after": "1, 2"}, None),
    ({"retry-after": "\u0664"}, 4.0),
    ({"retry-after": "Fri, 20 Nov 2026 12:00:30 GMT"}, 30.0),
    ({"retry-after": "Fri, 20 Nov 2026 12:00:30 -0000"}, 30.0),
    ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 0.0),
    ({"retry-after": "Fri, 20 Nov 100000 12:00:30 GMT"}, None),
    ({"retry-after": "Fri, 99 Nov 2026 12:00:30 GMT"}, None),
    ({"retry-after-ms": "250"}, 0.25),
    ({"retry-after-ms": "250", "retry-after": "60"}, 0.25),
    ({"retry-after-ms": "soon", "retry-after": "60"}, 60.0),
    ({"retry-after-ms": "-1", "retry-after": "60"}, 60.0),
    ({"x-amz-retry-after": "1500"}, 1.5),
]


@pytest.mark.parametrize(("headers", "expected"), HEADERS, ids=str)
def test_retry_after_in_every_form(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers, NOW) == expected


def test_backoff_doubles_up_to_its_bound_with_full_jitter() -> None:
    retry = Retry(attempts=9, base_delay=0.1, max_delay=1.0)
    error = ServerError("x")
    assert [retry.delay(error, attempt, lambda: 1.0) for attempt in range(1, 7)] == pytest.approx(
        [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    )
    assert retry.delay(error, 3, lambda: 0.0) == 0.0
    assert retry.delay(error, 3, lambda: 0.5) == pytest.approx(0.2)


def test_a_rate_limit_without_a_wish_waits_longer_than_a_failure() -> None:
    retry = Retry(base_delay=0.1, rate_limit_delay=1.0)
    assert retry.delay(RateLimitError("x"), 1, lambda: 1.0) == 1.0
    assert retry.delay(APIConnectionError("x"), 1, lambda: 1.0) == 0.1


def test_what_the_service_asks_for_is_waited_in_full_and_a_little_more() -> None:
    error = RateLimitError("x", retry_after=2.0)
    assert Retry().delay(error, 1, lambda: 0.0) == 2.0
    assert Retry(base_delay=0.1).delay(error, 1, lambda: 1.0) == pytest.approx(2.1)
    assert Retry(max_delay=1.0).delay(RateLimitError("x", retry_after=0.0), 1, lambda: 0.0) == 0.0


def test_it_ends_with_the_attempts_and_with_what_cannot_heal() -> None:
    assert Retry(attempts=3).delay(ServerError("x"), 3) is None
    assert Retry(attempts=1).delay(ServerError("x"), 1) is None
    assert Retry().delay(BadRequestError("x"), 1) is None
    assert Retry().delay(ServerError("x", retryable=False), 1) is None
    assert Retry().delay(ProviderError("x", retryable=True), 1) is not None


def test_jitter_spreads_the_returns() -> None:
    delays = {Retry().delay(ServerError("x"), 1) for _ in range(50)}
    assert len(delays) > 40
    assert all(0 <= delay <= 0.1 for delay in delays if delay is not None)
