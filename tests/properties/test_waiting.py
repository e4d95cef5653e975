"""However a service words its wish to be left alone, it becomes seconds or nothing, and a wait within its bounds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from helpers.properties import any_text, header_text, tries
from rerankkit import APIConnectionError, BadRequestError, ProviderError, RateLimitError, Retry, ServerError
from rerankkit.retry import retry_after

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
NAMES = ["retry-after", "retry-after-ms", "x-amz-retry-after"]

numbers = st.sampled_from(
    [
        *("0", "-0", "-1", "1.5", "1e35", "1e308", "1e309", "inf", "-inf", "nan", "+3", " 7 ", "007", "1_0", "0x10", "1,5", ""),
        *("\u0664", "\uff11", "\u00b2", "1e-999", "1s", "1, 2", "1;2", "PT1S"),
    ]
) | st.sampled_from([400, 5_000]).flatmap(lambda length: st.sampled_from(["", "0."]).map(lambda start: start + "1" * length))
years = (
    st.integers(0, 100_000).map(str) | st.sampled_from(["99", "-1", "2026", "9999", "10000"]) | st.just(5_000).map("9".__mul__)
)
zones = st.sampled_from(
    ["GMT", "UTC", "EST", "-0000", "+0000", "+2359", "-2359", "+9999", "+99999999999999999999", "Z", "", "A"]
)
clocks = st.sampled_from(
    ["12:00:30", "24:00:00", "00:00:60", "12:00", "12.00.30", "1:2:3:4", "99:99:99", "12:00:3\u0660", ":", ""]
)
months = st.sampled_from(["Nov", "nov", "November", "11", "Foo", ""])
dates = st.tuples(st.just("Fri,"), st.integers(-1, 99).map(str), months, years, clocks, zones).map(" ".join)
values = numbers | dates | st.tuples(dates | numbers, dates | numbers).map(", ".join) | header_text | any_text
headers = st.dictionaries(st.sampled_from(NAMES), values)


@given(headers=headers)
@tries(600)
def test_any_wish_is_a_finite_number_of_seconds_or_none(headers: dict[str, str]) -> None:
    seconds = retry_after(headers, NOW)
    assert seconds is None or (type(seconds) is float and 0 <= seconds < math.inf)


@given(seconds=st.floats(0, allow_infinity=False, allow_nan=False), name=st.sampled_from(NAMES))
@tries(200)
def test_a_number_is_taken_at_its_word(seconds: float, name: str) -> None:
    assert retry_after({name: repr(seconds)}, NOW) == (seconds if name == "retry-after" else seconds / 1000)


@given(
    moment=st.datetimes().filter(lambda moment: 1970 <= moment.year < 9000),
    zone=st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)
@tries(200)
def test_a_date_is_the_time_until_then_and_never_less_than_none(moment: datetime, zone: timezone) -> None:
    then = moment.replace(microsecond=0, tzinfo=zone)
    for written in [format_datetime(then), format_datetime(then.astimezone(UTC), usegmt=True)]:
        assert retry_after({"retry-after": written}, NOW) == max(0.0, (then - NOW).total_seconds())


@given(headers=st.fixed_dictionaries({"retry-after-ms": values, "retry-after": values}))
@tries(200)
def test_milliseconds_go_first_where_they_can_be_read(headers: dict[str, str]) -> None:
    precise = retry_after({"retry-after-ms": headers["retry-after-ms"]}, NOW)
    rough = retry_after({"retry-after": headers["retry-after"]}, NOW)
    assert retry_after(headers, NOW) == (rough if precise is None else precise)


delays = st.floats(0, 1e6)
attempts = st.integers(1, 10_000) | st.integers(1, 10)
policies = st.builds(Retry, st.none() | st.integers(1, 10_000), delays, delays, delays)
failures = st.builds(
    lambda kind, wish, retryable: kind("x", retry_after=wish, retryable=retryable),
    st.sampled_from([ServerError, RateLimitError, APIConnectionError, BadRequestError, ProviderError]),
    st.none() | st.floats(0, 1e300),
    st.none() | st.booleans(),
)


@given(retry=policies, error=failures, attempt=attempts, jitter=st.floats(0, 1), healthy=st.booleans())
@tries(500)
def test_a_wait_is_within_its_bounds_or_there_is_none(
    retry: Retry, error: ProviderError, attempt: int, jitter: float, healthy: bool
) -> None:
    """In full what the service asked for and at most half of `base_delay` more; of its own choice at most `max_delay`."""
    delay = retry.delay(error, attempt, lambda: jitter, healthy=healthy)
    if attempt >= (retry.attempts or (8 if healthy else 3)) or not error.retryable:
        assert delay is None
    elif error.retry_after is not None:
        assert error.retry_after <= delay <= error.retry_after + retry.base_delay / 2
    else:
        base = retry.rate_limit_delay if isinstance(error, RateLimitError) else retry.base_delay
        assert 0 <= delay <= min(retry.max_delay, base * 2.0 ** min(attempt - 1, 900))


@given(retry=policies, error=failures, attempt=attempts)
@tries(200)
def test_the_next_wait_may_be_longer_and_is_never_shorter(retry: Retry, error: ProviderError, attempt: int) -> None:
    """The bounds of two waits, one after the other."""
    first, second = (retry.delay(error, number, lambda: 1.0) for number in (attempt, attempt + 1))
    assert second is None or first <= second
