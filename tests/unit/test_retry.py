"""When to try again, and after how long."""

from __future__ import annotations

import copy
import heapq
import math
import pickle
import random
from collections.abc import Callable
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
    ATTEMPTS,
    MOST_ATTEMPTS,
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
    assert Retry() == Retry(attempts=None, base_delay=0.1, rate_limit_delay=1.0, max_delay=5.0, budget=100)
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


@pytest.mark.parametrize("attempts", [0, -1, 1.5, True, "3"])
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
    assert Retry(base_delay=0.1).delay(error, 1, lambda: 1.0) == pytest.approx(2.05)
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


# Bad luck or an outage


def sent(attempts: Attempts, fails: Callable[[], bool] = lambda: True) -> int:
    """How many requests one was worth that *fails* as told; 0 if it was answered in the end."""
    while fails():
        if attempts.delay(ServerError("x")) is None:
            return attempts.sent
        attempts.sent += 1
    attempts.succeed()
    return 0


def after(successes: int, tokens: int | None = None) -> RetryBudget:
    """That of a client which was successful so often."""
    budget = RetryBudget(tokens)
    for _ in range(successes):
        budget.succeed(0)
    return budget


def test_the_usual_attempts_are_three_and_eight_where_others_succeed() -> None:
    assert (ATTEMPTS, MOST_ATTEMPTS) == (3, 8)
    assert (Retry().most(), Retry().most(healthy=False), Retry().most(healthy=True)) == (3, 3, 8)
    assert [Retry().delay(ServerError("x"), attempt) is None for attempt in (2, 3)] == [False, True]
    assert [Retry().delay(ServerError("x"), attempt, healthy=True) is None for attempt in (7, 8)] == [False, True]


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
def test_a_number_of_attempts_is_kept_to(attempts: int) -> None:
    retry = Retry(attempts=attempts)
    assert retry.most(healthy=True) == retry.most() == attempts
    assert sent(Attempts(retry, after(100))) == sent(Attempts(retry, RetryBudget(None))) == attempts


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, lambda retry: pickle.loads(pickle.dumps(retry))])
@pytest.mark.parametrize("attempts", [None, 3])
def test_a_copy_has_the_same_attempts(made: Callable[[Retry], Retry], attempts: int | None) -> None:
    assert made(Retry(attempts=attempts, budget=None)) == Retry(attempts=attempts, budget=None)
    assert Retry(attempts=3) != Retry()


@pytest.mark.parametrize("tokens", [100, None])
@pytest.mark.parametrize(("successes", "expected"), [(0, 3), (1, 3), (6, 3), (7, 8), (10, 8), (1_000, 8)])
def test_seven_successes_are_worth_further_attempts(successes: int, expected: int, tokens: int | None) -> None:
    assert sent(Attempts(Retry(), after(successes, tokens))) == expected


def test_half_is_not_most() -> None:
    budget = RetryBudget(None)
    budget._succeeding = 0.5
    assert not budget.is_healthy(0)


def test_successes_of_long_ago_count_for_nothing() -> None:
    budget = after(1_000)
    for _ in range(10):
        budget.fail()
    assert sent(Attempts(Retry(), budget)) == 3
    for _ in range(10):
        budget.succeed(0)
    assert sent(Attempts(Retry(), budget)) == 8


def test_a_request_is_not_judged_by_its_own_failures_but_the_next_one_is() -> None:
    budget = after(10)
    assert [sent(Attempts(Retry(), budget)) for _ in range(3)] == [8, 3, 3]


def test_of_many_side_by_side_none_takes_the_others_failures_for_bad_luck() -> None:
    budget = after(1_000)
    crowd = [Attempts(Retry(), budget) for _ in range(20)]
    for attempt in range(1, 4):
        again = [attempts.delay(ServerError("x")) is not None for attempts in crowd]
        assert again == [attempt < 3] * 20
        for attempts in crowd:
            attempts.sent += 1


def test_further_attempts_need_tokens_as_well() -> None:
    budget = after(100, tokens=8)
    assert sent(Attempts(Retry(), budget)) == 4, "half of the tokens are gone"
    assert sent(Attempts(Retry(), budget)) == 1


def test_replaced_connections_are_neither_luck_nor_attempts() -> None:
    stale = APIConnectionError("x")
    stale.stale = True
    attempts = Attempts(Retry(), after(10))
    for _ in range(MOST_KEPT):
        assert attempts.delay(stale) == 0.0
        attempts.sent += 1
    assert sent(attempts) == MOST_KEPT + 8


def test_an_outage_after_healthy_traffic_soon_costs_three_requests_and_then_one() -> None:
    budget = after(1_000, tokens=100)
    requests = [sent(Attempts(Retry(), budget)) for _ in range(1_000)]
    assert requests[:15] == [8, *[3] * 14]
    assert set(requests[15:]) == {1}
    assert sum(requests) <= 1_050


@pytest.mark.parametrize("side_by_side", [1, 20])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_faults_of_one_request_in_six_lose_no_call_of_500(seed: int, side_by_side: int) -> None:
    lost, requests = weathered(None, seed, side_by_side)
    assert lost == 0
    assert requests <= 1.25 * 500


@pytest.mark.parametrize("side_by_side", [1, 20])
def test_hardly_any_of_very_many_calls_is_lost_to_them_where_three_attempts_lose_one_in_200(side_by_side: int) -> None:
    usual, three = (weathered(attempts, 4, side_by_side, 20_000)[0] for attempts in (None, 3))
    assert usual <= 1
    assert 70 <= three <= 130


def weathered(attempts: int | None, seed: int, side_by_side: int, calls: int = 500) -> tuple[int, int]:
    """Calls lost and requests sent, in the order of a clock that nobody waits for and without jitter."""
    retry = Retry(attempts=attempts, base_delay=0.0)
    chance, budget, lost, requests = random.Random(seed), RetryBudget(retry.budget), 0, 0
    begun = side_by_side
    waiting = [(0.0, call, Attempts(retry, budget)) for call in range(begun)]
    while waiting:
        now, call, tried = heapq.heappop(waiting)
        requests, fault = requests + 1, chance.random()
        if fault >= 0.17:
            tried.succeed()
        else:
            error = RateLimitError("x", retry_after=1.0) if fault < 0.1 else ServerError("x")
            delay = tried.delay(error)
            if delay is not None:
                tried.sent += 1
                heapq.heappush(waiting, (now + 0.02 + delay, call, tried))
                continue
            lost += 1
        if begun < calls:
            heapq.heappush(waiting, (now + 0.02, begun, Attempts(retry, budget)))
            begun += 1
    return lost, requests
