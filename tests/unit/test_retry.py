"""When to try again, and after how long."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from rerankkit import (
    APIConnectionError,
    BadRequestError,
    InvalidRequestError,
    ProviderError,
    RateLimitError,
    Retry,
    ServerError,
)
from rerankkit.retry import (
    MOST_KEPT,
    Attempts,
    RetryBudget,
    check_retry,
    forbids_retry,
    retry_after,
    until_reset,
)

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
    ({"grpc-retry-pushback-ms": "1500", "retry-after": "60"}, 1.5),
    ({"grpc-retry-pushback-ms": "-1", "retry-after": "60"}, 60.0),
    ({"x-ratelimit-reset": "1795176030"}, None),
]


@pytest.mark.parametrize(("headers", "expected"), HEADERS, ids=str)
def test_retry_after_in_every_form(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers, NOW) == expected


@pytest.mark.parametrize(
    ("pushback", "expected"),
    [(None, False), ("0", False), ("250", False), ("-1", True), ("-0.5", True), ("soon", True), ("", True), ("inf", True)],
)
def test_only_a_pushback_that_is_negative_or_unreadable_forbids_a_retry(pushback: str | None, expected: bool) -> None:
    headers = {"retry-after": "-1", "retry-after-ms": "-1"}
    assert forbids_retry(headers if pushback is None else headers | {"grpc-retry-pushback-ms": pushback}) == expected


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        (None, None),
        ("1795176030", 30.0),
        ("1795176000", None),
        ("1795175970", None),
        ("30", None),
        ("soon", None),
        ("inf", None),
    ],
)
def test_a_reset_is_a_moment_to_come(reset: str | None, expected: float | None) -> None:
    assert NOW.timestamp() == 1_795_176_000
    assert until_reset({} if reset is None else {"x-ratelimit-reset": reset}, NOW) == expected


def test_a_reset_may_come_in_less_than_a_second() -> None:
    assert until_reset({"x-ratelimit-reset": "1795176000.5"}, NOW) == 0.5


def test_a_date_is_told_from_the_present_moment() -> None:
    soon = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)})
    assert soon is not None
    assert 3_500 < soon <= 3_600


def test_the_usual_retry_is_what_the_documentation_says() -> None:
    assert Retry() == Retry(attempts=3, base_delay=0.1, rate_limit_delay=1.0, max_delay=5.0, budget=100)
    assert check_retry(None) == Retry()
    assert check_retry(retry := Retry(attempts=7)) is retry


def test_delays_may_be_zero() -> None:
    retry = Retry(base_delay=0, rate_limit_delay=0.0, max_delay=0)
    assert (retry.base_delay, retry.rate_limit_delay, retry.max_delay) == (0, 0.0, 0)


@pytest.mark.parametrize("name", ["base_delay", "rate_limit_delay", "max_delay"])
@pytest.mark.parametrize("value", [-0.001, math.inf, math.nan, True, "1", None])
def test_a_delay_is_a_finite_number_of_seconds(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{name} must be a finite number of seconds, at least 0, got {value!r}$"):
        Retry(**{name: value})


@pytest.mark.parametrize("attempts", [0, -1, 1.5, True, None])
def test_attempts_are_a_whole_number(attempts: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"^attempts must be a whole number at least 1, got {attempts!r}$"):
        Retry(attempts=attempts)


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


def test_a_budget_is_off_at_half_and_on_again_after_enough_successes() -> None:
    budget = RetryBudget(10)
    for _ in range(4):
        budget.fail()
    assert budget.allows_retry
    budget.fail()
    assert not budget.allows_retry
    budget.succeed(0)
    assert repr(budget) == "<RetryBudget: 5.1 of 10 tokens left>"
    assert budget.allows_retry, "that is more than half"


def test_a_budget_neither_overflows_nor_goes_into_debt() -> None:
    budget = RetryBudget(10)
    for _ in range(50):
        budget.fail()
    assert repr(budget) == "<RetryBudget: 0.0 of 10 tokens left>"
    for _ in range(500):
        budget.succeed(1)
    assert repr(budget) == "<RetryBudget: 10.0 of 10 tokens left>"


def test_no_budget_is_never_exhausted() -> None:
    budget = RetryBudget(None)
    for _ in range(1_000):
        budget.fail()
        budget.succeed(1)
    assert budget.allows_retry
    assert repr(budget) == "<RetryBudget: unlimited>"


def test_what_heals_costs_nothing() -> None:
    budget = RetryBudget(100)
    budget.fail()
    for _ in range(1_000):
        attempts = Attempts(Retry(), budget)
        for _ in range(2):
            assert attempts.delay(ServerError("x")) is not None
            attempts.sent += 1
        attempts.succeed()
    assert repr(budget) == "<RetryBudget: 100.0 of 100 tokens left>"


def test_a_failure_that_heals_gives_its_own_token_back_and_no_other() -> None:
    budget = RetryBudget(10)
    for _ in range(3):
        budget.fail()
    Attempts(Retry(), budget).succeed()
    assert repr(budget) == "<RetryBudget: 7.1 of 10 tokens left>"
    attempts = Attempts(Retry(), budget)
    assert attempts.delay(ServerError("x")) is not None
    attempts.succeed()
    assert repr(budget) == "<RetryBudget: 7.2 of 10 tokens left>"


def test_the_attempts_know_how_many_there_were_and_how_the_last_one_failed() -> None:
    attempts = Attempts(Retry(), RetryBudget(None))
    assert (attempts.sent, attempts.last) == (1, None)
    attempts.sent = 2
    error = ServerError("x")
    attempts.delay(error)
    assert attempts.last is error
    assert error.attempts == 2


def test_what_cannot_heal_takes_no_token() -> None:
    budget = RetryBudget(2)
    for error in (BadRequestError("x"), RateLimitError("the month is over", retryable=False)):
        assert Attempts(Retry(), budget).delay(error) is None
    assert repr(budget) == "<RetryBudget: 2.0 of 2 tokens left>"


def test_an_exhausted_budget_says_so() -> None:
    error = ServerError("x")
    assert Attempts(Retry(), RetryBudget(1)).delay(error) is None
    assert error.__notes__ == ["Not tried again: too many requests of this client have failed lately; see Retry(budget=)."]
    last = ServerError("x")
    assert Attempts(Retry(attempts=1), RetryBudget(1)).delay(last) is None
    assert not hasattr(last, "__notes__"), "it would not have been tried again in any case"


def test_as_many_stale_connections_as_can_be_are_replaced_at_once_and_free_of_charge() -> None:
    stale = APIConnectionError("x")
    stale.stale = True
    budget = RetryBudget(1)
    attempts = Attempts(Retry(attempts=1), budget)
    assert MOST_KEPT == 20, "as many as httpx keeps"
    for _ in range(MOST_KEPT):
        assert attempts.delay(stale) == 0.0
        assert budget.allows_retry
        attempts.sent += 1
    assert attempts.delay(stale) is None
    assert stale.attempts == MOST_KEPT + 1


def test_a_replaced_connection_leaves_all_attempts_and_no_more() -> None:
    stale = APIConnectionError("x")
    stale.stale = True
    attempts = Attempts(Retry(attempts=2), RetryBudget(None))
    assert attempts.delay(stale) == 0.0
    attempts.sent += 1
    assert attempts.delay(APIConnectionError("x")) is not None
    attempts.sent += 1
    assert attempts.delay(APIConnectionError("x")) is None


def test_a_new_connection_that_fails_is_an_attempt() -> None:
    assert Attempts(Retry(attempts=1), RetryBudget(None)).delay(APIConnectionError("x")) is None


@pytest.mark.parametrize("budget", [0, -1, 1.5, True, "100"])
def test_a_budget_is_a_whole_number_or_none(budget: Any) -> None:
    hint = "pass None for no budget, or attempts=1 for no retries"
    with pytest.raises(InvalidRequestError, match=f"^budget must be a whole number at least 1, got {budget!r}; {hint}$"):
        Retry(budget=budget)
